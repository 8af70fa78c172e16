"""SHOW and DESCRIBE as DuckDB queries over the catalogue; one row of a table per statement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fluxport_emulator import faults
from fluxport_emulator.dialect import Scope, condition
from fluxport_emulator.tables import COLLATION, INFORMATION_SCHEMA_STORE, SampleTable, identifier, literal

_NAME = r"`(?:[^`]|``)+`|[\w$]+"
_SHOW = re.compile(
    rf"""SHOW\s+(?:(?P<full>FULL)\s+|(?:GLOBAL|SESSION|LOCAL|EXTENDED|STORAGE|ALL|ENGINE)\s+)*
    (?P<what>[A-Z]+(?:\s+(?:STATUS|SET|TABLES?|DATABASE|SCHEMA|VIEW|LOG\s+STATUS|LOGS|HOSTS))?|COUNT\(\*\)\s+\w+)
    (?:\s+FOR\s+.+)?
    (?:\s+(?:(?:FROM|IN)\s+)?(?P<target>{_NAME})(?:\s*\.\s*(?P<member>{_NAME}))?)?
    (?:\s+(?:FROM|IN)\s+(?P<database>{_NAME}))?
    (?:\s+LIKE\s+(?P<like>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\s+WHERE\s+(?P<where>.+))?
    (?:\s+LIMIT\s+[\d\s,]+)?""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_DESCRIBE = re.compile(
    rf"(?:DESCRIBE|DESC|EXPLAIN|SHOW\s+COLUMNS\s+FROM)\s+(?P<one>{_NAME})(?:\s*\.\s*(?P<two>{_NAME}))?"
    rf"(?:\s+(?P<column>{_NAME}|'[^']*'))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Request:
    """A parsed SHOW, with names unquoted."""

    scope: Scope
    facts: ServerFacts
    full: bool
    database: str | None
    target: str | None


@dataclass(frozen=True)
class ServerFacts:
    """The state of the server and the session that SHOW reports."""

    variables: Callable[[], Iterable[tuple[str, str]]]
    status: Callable[[], Iterable[tuple[str, str]]]
    warnings: Callable[[], Iterable[tuple[str, int, str]]]


def query(text: str, scope: Scope, facts: ServerFacts) -> str:
    """The DuckDB query for a SHOW statement. Raises faults.SqlError."""
    match = _matched(text)
    what = " ".join(match["what"].upper().split())
    entry = _SHOWS.get(what)
    if entry is None:
        raise faults.syntax(text[5:])
    target, member = _unquoted(match["target"]), _unquoted(match["member"])
    database = _unquoted(match["database"])
    if entry.of_table and member is not None:
        database, target = target, member
    elif not entry.of_table and database is None:
        database = target
    request = Request(scope, facts, match["full"] is not None, database, target)
    sql = entry.select(request)
    if match["like"] is not None:
        pattern = literal(match["like"][1:-1])
        sql = f"SELECT * FROM ({sql}) AS shown WHERE lower({_first_column(sql)}) LIKE lower({pattern}) ESCAPE '\\'"
    elif match["where"] is not None:
        sql = f"SELECT * FROM ({sql}) AS shown WHERE {condition(match['where'], scope)}"
    return sql


def describe(text: str, scope: Scope) -> str | None:
    """The DuckDB query for DESCRIBE of a table; None if the text is not such a statement."""
    match = _DESCRIBE.fullmatch(text)
    if match is None:
        return None
    one, two = _unquoted(match["one"]), _unquoted(match["two"])
    request = Request(scope, _NO_FACTS, False, one if two else None, two or one)
    column = match["column"]
    if column is None:
        return _columns(request)
    wanted = column[1:-1] if column.startswith("'") else _unquoted(column)
    return f'SELECT * FROM ({_columns(request)}) AS shown WHERE lower("Field") LIKE lower({literal(wanted)})'


_NO_FACTS = ServerFacts(lambda: (), lambda: (), lambda: ())


def _matched(text: str) -> re.Match[str]:
    match = _SHOW.fullmatch(text)
    if match is None:
        raise faults.syntax(text[5:])
    return match


def _unquoted(name: str | None) -> str | None:
    if name is None or not name.startswith("`"):
        return name
    return name[1:-1].replace("``", "`")


def _first_column(sql: str) -> str:
    match = re.search(r'AS ("[^"]+")', sql)
    return match[1] if match else "1"


def _values(columns: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> str:
    """A literal table; without rows its columns are text."""
    lines = [f"SELECT {', '.join(f'{literal(v)} AS {identifier(c)}' for c, v in _pairs(columns, row))}" for row in rows]
    if lines:
        return " UNION ALL ".join(lines)
    return f"SELECT {', '.join(f'CAST(NULL AS VARCHAR) AS {identifier(c)}' for c in columns)} WHERE false"


def _pairs(columns: Sequence[str], row: Sequence[str | int | None]) -> Iterable[tuple[str, str | int | None]]:
    return zip(columns, row, strict=True)


def _database(request: Request) -> str:
    wanted = request.database or request.scope.database
    if wanted is None:
        raise faults.no_database()
    known = request.scope.catalog.database(wanted)
    if known is None:
        raise faults.unknown_database(wanted)
    return known


def _table(request: Request) -> tuple[str, SampleTable]:
    database = _database(request)
    table = request.scope.catalog.table(database, request.target or "")
    if table is None:
        raise faults.unknown_table(database, request.target or "")
    return database, table


def _from_catalog(view: str, columns: str, where: str = "true", order: str = "1") -> str:
    """``columns``: ``COLUMN=Header`` separated by spaces; underscores in a header are literal."""
    pairs = [pair.partition("=") for pair in columns.split()]
    items = ", ".join(f"{identifier(column)} AS {identifier(header)}" for column, _, header in pairs)
    return f"SELECT {items} FROM {INFORMATION_SCHEMA_STORE}.{view} WHERE {where} ORDER BY {order}"


def _tables(request: Request) -> str:
    database = _database(request)
    kind = " TABLE_TYPE=Table_type" if request.full else ""
    return _from_catalog(
        "TABLES", f"TABLE_NAME=Tables_in_{database}{kind}", f"TABLE_SCHEMA = {literal(database)}", "TABLE_NAME"
    )


def _columns(request: Request) -> str:
    database, table = _table(request)
    columns = "COLUMN_NAME=Field COLUMN_TYPE=Type IS_NULLABLE=Null COLUMN_KEY=Key COLUMN_DEFAULT=Default EXTRA=Extra"
    if request.full:
        columns = (
            "COLUMN_NAME=Field COLUMN_TYPE=Type COLLATION_NAME=Collation IS_NULLABLE=Null COLUMN_KEY=Key "
            "COLUMN_DEFAULT=Default EXTRA=Extra PRIVILEGES=Privileges COLUMN_COMMENT=Comment"
        )
    where = f"TABLE_SCHEMA = {literal(database)} AND TABLE_NAME = {literal(table.name)}"
    return _from_catalog("COLUMNS", columns, where, "ORDINAL_POSITION")


def _indexes(request: Request) -> str:
    database, table = _table(request)
    return _from_catalog(
        "STATISTICS",
        "TABLE_NAME=Table NON_UNIQUE=Non_unique INDEX_NAME=Key_name SEQ_IN_INDEX=Seq_in_index COLUMN_NAME=Column_name "
        "COLLATION=Collation CARDINALITY=Cardinality SUB_PART=Sub_part PACKED=Packed NULLABLE=Null "
        "INDEX_TYPE=Index_type COMMENT=Comment INDEX_COMMENT=Index_comment IS_VISIBLE=Visible EXPRESSION=Expression",
        f"TABLE_SCHEMA = {literal(database)} AND TABLE_NAME = {literal(table.name)}",
        "SEQ_IN_INDEX",
    )


def _table_status(request: Request) -> str:
    return _from_catalog(
        "TABLES",
        "TABLE_NAME=Name ENGINE=Engine VERSION=Version ROW_FORMAT=Row_format TABLE_ROWS=Rows "
        "AVG_ROW_LENGTH=Avg_row_length DATA_LENGTH=Data_length MAX_DATA_LENGTH=Max_data_length "
        "INDEX_LENGTH=Index_length DATA_FREE=Data_free AUTO_INCREMENT=Auto_increment CREATE_TIME=Create_time "
        "UPDATE_TIME=Update_time CHECK_TIME=Check_time TABLE_COLLATION=Collation CHECKSUM=Checksum "
        "CREATE_OPTIONS=Create_options TABLE_COMMENT=Comment",
        f"TABLE_SCHEMA = {literal(_database(request))}",
        "TABLE_NAME",
    )


def _create_table(request: Request) -> str:
    _, table = _table(request)
    return _values(("Table", "Create Table"), [(table.name, table.mysql_ddl())])


def _create_database(request: Request) -> str:
    database = _database(request)
    ddl = f"CREATE DATABASE `{database}` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE {COLLATION} */"
    return _values(("Database", "Create Database"), [(database, ddl)])


def _processes(request: Request) -> str:
    columns = ("ID=Id", "USER=User", "HOST=Host", "DB=db", "COMMAND=Command", "TIME=Time", "STATE=State", "INFO=Info")
    pairs = [column.split("=") for column in columns]
    items = ", ".join(f"{identifier(column)} AS {identifier(header)}" for column, header in pairs)
    return f"SELECT {items} FROM ({request.scope.processes()}) AS processes"


def _grants(request: Request) -> str:
    catalog = request.scope.catalog
    account = f"`{catalog.user}`@`%`"
    databases = [name for name in catalog.databases if name != "information_schema"]
    grants = [f"GRANT USAGE ON *.* TO {account}", *(f"GRANT SELECT ON `{name}`.* TO {account}" for name in databases)]
    return _values((f"Grants for {catalog.user}@%",), [(grant,) for grant in grants])


def _warning_count(request: Request) -> str:
    return f'SELECT CAST({len(list(request.facts.warnings()))} AS BIGINT) AS "@@session.warning_count"'


def _nothing(columns: str) -> Callable[[Request], str]:
    return lambda _: _values(columns.split(), ())


def _warnings(request: Request) -> str:
    return _values(("Level", "Code", "Message"), request.facts.warnings())


@dataclass(frozen=True)
class _Show:
    """``of_table``: the name after FROM is a table, optionally followed by its database."""

    select: Callable[[Request], str]
    of_table: bool = False


_SHOWS: dict[str, _Show] = {
    "TABLES": _Show(_tables),
    "COLUMNS": _Show(_columns, of_table=True),
    "FIELDS": _Show(_columns, of_table=True),
    "INDEX": _Show(_indexes, of_table=True),
    "INDEXES": _Show(_indexes, of_table=True),
    "KEYS": _Show(_indexes, of_table=True),
    "CREATE TABLE": _Show(_create_table, of_table=True),
    "CREATE VIEW": _Show(_create_table, of_table=True),
    "CREATE DATABASE": _Show(_create_database),
    "CREATE SCHEMA": _Show(_create_database),
    "TABLE STATUS": _Show(_table_status),
    "DATABASES": _Show(lambda _: _from_catalog("SCHEMATA", "SCHEMA_NAME=Database")),
    "SCHEMAS": _Show(lambda _: _from_catalog("SCHEMATA", "SCHEMA_NAME=Database")),
    "VARIABLES": _Show(lambda r: _values(("Variable_name", "Value"), r.facts.variables())),
    "STATUS": _Show(lambda r: _values(("Variable_name", "Value"), r.facts.status())),
    "WARNINGS": _Show(_warnings),
    "ERRORS": _Show(_warnings),
    "COUNT(*) WARNINGS": _Show(_warning_count),
    "COUNT(*) ERRORS": _Show(_warning_count),
    "PROCESSLIST": _Show(_processes),
    "GRANTS": _Show(_grants),
    "ENGINES": _Show(
        lambda _: _from_catalog(
            "ENGINES",
            "ENGINE=Engine SUPPORT=Support COMMENT=Comment TRANSACTIONS=Transactions XA=XA SAVEPOINTS=Savepoints",
        )
    ),
    "COLLATION": _Show(
        lambda _: _from_catalog(
            "COLLATIONS",
            "COLLATION_NAME=Collation CHARACTER_SET_NAME=Charset ID=Id IS_DEFAULT=Default IS_COMPILED=Compiled "
            "SORTLEN=Sortlen",
        )
    ),
    "CHARACTER SET": _Show(
        lambda _: _from_catalog(
            "CHARACTER_SETS",
            "CHARACTER_SET_NAME=Charset DESCRIPTION=Description DEFAULT_COLLATE_NAME=Default_collation MAXLEN=Maxlen",
        )
    ),
    "PLUGINS": _Show(_nothing("Name Status Type Library License")),
    "TRIGGERS": _Show(_nothing("Trigger Event Table Statement Timing Created sql_mode Definer")),
    "EVENTS": _Show(_nothing("Db Name Definer Type Status")),
    "PROCEDURE STATUS": _Show(_nothing("Db Name Type Definer Modified Created Security_type Comment")),
    "FUNCTION STATUS": _Show(_nothing("Db Name Type Definer Modified Created Security_type Comment")),
    "MASTER STATUS": _Show(_nothing("File Position Binlog_Do_DB Binlog_Ignore_DB Executed_Gtid_Set")),
    "BINARY LOG STATUS": _Show(_nothing("File Position Binlog_Do_DB Binlog_Ignore_DB Executed_Gtid_Set")),
    "BINARY LOGS": _Show(_nothing("Log_name File_size")),
    "SLAVE STATUS": _Show(_nothing("Slave_IO_State Master_Host")),
    "SLAVES STATUS": _Show(_nothing("Connection_name Slave_IO_State Master_Host")),
    "REPLICA STATUS": _Show(_nothing("Replica_IO_State Source_Host")),
    "REPLICAS": _Show(_nothing("Server_Id Host Port")),
    "SLAVE HOSTS": _Show(_nothing("Server_id Host Port")),
    "INNODB STATUS": _Show(_nothing("Type Name Status")),
    "OPEN TABLES": _Show(_nothing("Database Table In_use Name_locked")),
}
