"""The kinds of nodes that a statement may have, and for each its fields; a field that is not listed must be empty.

PostgreSQL's parser makes the nodes. A newer one may have further kinds, fields and choices: all are refused until they
are listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pglast import ast

from fluxport.policy.guard.lexer import refuse
from fluxport.policy.guard.words import word_set

_TABLE = """
    RawStmt: stmt
    SelectStmt: distinctClause targetList fromClause whereClause groupClause groupDistinct havingClause windowClause
        valuesLists sortClause limitOffset limitCount limitOption withClause op all larg rarg
    ResTarget: name val
    ColumnRef: fields
    String: sval
    A_Star:
    A_Const: isnull val
    Integer: ival
    Float: fval
    Boolean: boolval
    BitString: bsval
    ParamRef: number
    RangeVar: schemaname relname inh relpersistence alias
    Alias: aliasname colnames
    JoinExpr: jointype isNatural larg rarg usingClause join_using_alias quals alias
    RangeSubselect: lateral subquery alias
    RangeFunction: lateral ordinality is_rowsfrom functions alias coldeflist
    RangeTableSample: relation method args repeatable
    RangeTableFunc: lateral docexpr rowexpr namespaces columns alias
    RangeTableFuncCol: colname typeName for_ordinality is_not_null colexpr coldefexpr
    ColumnDef: colname typeName is_local collClause
    A_Expr: kind name lexpr rexpr
    BoolExpr: boolop args
    NullTest: arg nulltesttype
    BooleanTest: arg booltesttype
    FuncCall: funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic funcformat
    NamedArgExpr: arg name
    SubLink: subLinkType testexpr operName subselect
    CaseExpr: arg args defresult
    CaseWhen: expr result
    TypeCast: arg typeName
    TypeName: names typmods arrayBounds
    CollateClause: arg collname
    SortBy: node sortby_dir sortby_nulls useOp
    WindowDef: name refname partitionClause orderClause frameOptions startOffset endOffset
    WithClause: ctes recursive
    CommonTableExpr: ctename aliascolnames ctematerialized ctequery search_clause cycle_clause
    CTESearchClause: search_col_list search_breadth_first search_seq_column
    CTECycleClause: cycle_col_list cycle_mark_column cycle_mark_value cycle_mark_default cycle_path_column
    CoalesceExpr: args
    MinMaxExpr: op args
    SQLValueFunction: op typmod
    A_ArrayExpr: elements
    A_Indirection: arg indirection
    A_Indices: is_slice lidx uidx
    RowExpr: args row_format
    GroupingSet: kind content
    GroupingFunc: args
    XmlExpr: op name named_args args xmloption
    XmlSerialize: xmloption expr typeName indent
    JsonIsPredicate: expr format item_type unique_keys
    JsonFuncExpr: op context_item pathspec passing output on_empty on_error wrapper quotes
    JsonFormat: format_type encoding
    JsonReturning: format
    JsonValueExpr: raw_expr format
    JsonOutput: typeName returning
    JsonArgument: val name
    JsonBehavior: btype expr
    JsonTable: context_item pathspec passing columns on_error alias lateral
    JsonTableColumn: coltype name typeName pathspec format wrapper quotes columns on_empty on_error
    JsonTablePathSpec: string name
    JsonKeyValue: key value
    JsonParseExpr: expr output unique_keys
    JsonScalarExpr: expr output
    JsonSerializeExpr: expr output
    JsonObjectConstructor: exprs output absent_on_null unique
    JsonArrayConstructor: exprs output absent_on_null
    JsonArrayQueryConstructor: query output format absent_on_null
    JsonAggConstructor: output agg_filter agg_order over
    JsonObjectAgg: constructor arg absent_on_null unique
    JsonArrayAgg: constructor arg absent_on_null
"""
_POSITIONS = word_set(
    "location rexpr_list_start rexpr_list_end list_start list_end name_location stmt_location stmt_len"
)
_EMPTY: tuple[Any, ...] = (None, "", "\0", ())
# Fields where -1 means "none given"; elsewhere that is 0 or False.
_MINUS_ONE = word_set("typemod typmod typeMod argnumber cycle_mark_typmod")
_CHOICES = word_set("""
    LIMIT_OPTION_DEFAULT LIMIT_OPTION_COUNT LIMIT_OPTION_WITH_TIES SETOP_NONE SETOP_UNION SETOP_INTERSECT
    SETOP_EXCEPT JOIN_INNER JOIN_LEFT JOIN_FULL JOIN_RIGHT AEXPR_OP AEXPR_OP_ANY AEXPR_OP_ALL AEXPR_DISTINCT
    AEXPR_NOT_DISTINCT AEXPR_NULLIF AEXPR_IN AEXPR_LIKE AEXPR_ILIKE AEXPR_SIMILAR AEXPR_BETWEEN AEXPR_NOT_BETWEEN
    AEXPR_BETWEEN_SYM AEXPR_NOT_BETWEEN_SYM AND_EXPR OR_EXPR NOT_EXPR IS_NULL IS_NOT_NULL IS_TRUE IS_NOT_TRUE
    IS_FALSE IS_NOT_FALSE IS_UNKNOWN IS_NOT_UNKNOWN COERCE_EXPLICIT_CALL COERCE_EXPLICIT_CAST COERCE_IMPLICIT_CAST
    COERCE_SQL_SYNTAX EXISTS_SUBLINK ALL_SUBLINK ANY_SUBLINK EXPR_SUBLINK ARRAY_SUBLINK SORTBY_DEFAULT SORTBY_ASC
    SORTBY_DESC SORTBY_USING SORTBY_NULLS_DEFAULT SORTBY_NULLS_FIRST SORTBY_NULLS_LAST CTEMaterializeDefault
    CTEMaterializeAlways CTEMaterializeNever IS_GREATEST IS_LEAST SVFOP_CURRENT_DATE SVFOP_CURRENT_TIME
    SVFOP_CURRENT_TIME_N SVFOP_CURRENT_TIMESTAMP SVFOP_CURRENT_TIMESTAMP_N SVFOP_LOCALTIME SVFOP_LOCALTIME_N
    SVFOP_LOCALTIMESTAMP SVFOP_LOCALTIMESTAMP_N SVFOP_CURRENT_CATALOG SVFOP_CURRENT_SCHEMA GROUPING_SET_EMPTY
    GROUPING_SET_SIMPLE GROUPING_SET_ROLLUP GROUPING_SET_CUBE GROUPING_SET_SETS IS_XMLCONCAT IS_XMLELEMENT
    IS_XMLFOREST IS_XMLPARSE IS_XMLPI IS_XMLROOT IS_XMLSERIALIZE IS_DOCUMENT XMLOPTION_DOCUMENT XMLOPTION_CONTENT
    JS_FORMAT_DEFAULT JS_FORMAT_JSON JS_FORMAT_JSONB JS_ENC_DEFAULT JS_ENC_UTF8 JS_TYPE_ANY JS_TYPE_OBJECT
    JS_TYPE_ARRAY JS_TYPE_SCALAR JSON_EXISTS_OP JSON_QUERY_OP JSON_VALUE_OP JSW_UNSPEC JSW_NONE JSW_CONDITIONAL
    JSW_UNCONDITIONAL JS_QUOTES_UNSPEC JS_QUOTES_KEEP JS_QUOTES_OMIT JSON_BEHAVIOR_NULL JSON_BEHAVIOR_ERROR
    JSON_BEHAVIOR_EMPTY JSON_BEHAVIOR_TRUE JSON_BEHAVIOR_FALSE JSON_BEHAVIOR_UNKNOWN JSON_BEHAVIOR_EMPTY_ARRAY
    JSON_BEHAVIOR_EMPTY_OBJECT JSON_BEHAVIOR_DEFAULT JTC_FOR_ORDINALITY JTC_REGULAR JTC_EXISTS JTC_FORMATTED
    JTC_NESTED
""")


def _fields() -> dict[type[ast.Node], tuple[tuple[str, bool], ...]]:
    """The fields of each allowed kind, each with whether it may be set; kinds that the parser lacks are left out."""
    fields = {}
    for line in _TABLE.strip().replace("\n        ", " ").splitlines():
        kind, _, names = line.strip().partition(":")
        if (cls := getattr(ast, kind, None)) is not None:
            allowed = word_set(names)
            fields[cls] = tuple((name, name in allowed) for name in cls.__slots__ if name not in _POSITIONS)
    return fields


FIELDS = _fields()


def fields_of(node: ast.Node) -> Iterator[tuple[str, Any]]:
    """The set fields of an allowed node; QueryRefused for any other node, field or choice."""
    kind = type(node)
    fields = FIELDS.get(kind)
    if fields is None:
        refuse(
            "query_clause", f"This kind of expression or clause ({spoken(kind.__name__)}) is not allowed; remove it."
        )
    for name, allowed in fields:
        value = getattr(node, name)
        if isinstance(value, Enum):
            if value.name not in _CHOICES or not (allowed or not value):
                refuse("query_clause", f"The form {spoken(value.name)} of an expression is not allowed; remove it.")
        elif value in _EMPTY or value == 0 or (value == -1 and name in _MINUS_ONE):
            continue
        elif not allowed:
            refuse("query_clause", f"The clause {spoken(name)} is not allowed; remove it.")
        else:
            yield name, value


def shape(root: ast.Node, schemas: Mapping[int, str]) -> list[Any]:
    """Everything in the tree but positions, with ``schemas`` for the tables that start there."""
    found: list[Any] = []
    stack: list[Any] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            found.append(len(item))
            stack += item
        elif isinstance(item, ast.Node):
            found.append(type(item))
            values = {name: getattr(item, name) for name, _ in FIELDS[type(item)]}
            if isinstance(item, ast.RangeVar) and (schema := schemas.get(item.location or 0)):
                values["schemaname"] = schema
            stack += values.values()
        elif item is not None:
            found.append(item)
    return found


def spoken(name: str) -> str:
    """A name of the parser's as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()
