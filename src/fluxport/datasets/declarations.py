"""Parses the section ``datasets`` of a configuration, checked completely before use.

::

    datasets:
      trades:
        title: Trades
        connection: journal            # default: main
        scope: user                    # default; "all" gives every caller every row
        query:                         # one text, or one per dialect, such as mysql, postgresql, sqlite
          SELECT id, pnl, entry_at AS "entryAt" FROM trades WHERE user_id = :user AND {filters}
        order: entry_at DESC, id DESC
        columns:
          id: text
          pnl: {type: "decimal(18,4)", label: P&L, width: 12, format: "#,##0.00", sortable: false}
          entryAt: timestamp(3)
        filters:
          entry: {type: date_range, zone: Europe/Berlin, from: dateFrom, to: dateTo,
                  where_from: "entry_at >= :dateFrom", where_to: "entry_at < :dateTo"}
          status: {type: one_of, values: [OPEN, CLOSED], where: "status = :status"}
          note: {type: text, column: trades.note}
          limit: {type: limit}

``{filters}`` marks where the conditions go; every ``where`` is fixed text that binds its own parameter. Instead of it
a filter may have a ``column``, SQL of which the conditions are made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from fluxport.datasets.columns import STORED, TYPE, TYPES_SHOWN, Column
from fluxport.datasets.dataset import FILTERS, USER, Dataset
from fluxport.datasets.filters import (
    INTEGER_MAX,
    AnyOf,
    DateRange,
    Empty,
    Filter,
    Limit,
    Match,
    Not,
    NumberRange,
    OneOf,
    Operator,
    Text,
)
from fluxport.datasets.moments import BIND_NAMES
from fluxport.datasets.sqltext import ANY, Fragment, around, canonical, everywhere, for_dialect, names_of
from fluxport.errors import Refused

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def parse_datasets(declared: Mapping[str, Any]) -> dict[str, Dataset]:
    """The datasets by name; Refused (``bad_configuration``) with the first problem of each, one per line."""
    datasets: dict[str, Dataset] = {}
    problems: list[str] = []
    for name, entry in declared.items():
        try:
            datasets[name] = _dataset(name, entry)
        except _Problem as problem:
            problems.append(str(problem))
    if problems:
        raise Refused("\n".join(problems), code="bad_configuration")
    return datasets


class _Problem(Exception):
    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}.")


class _Entry:
    """A mapping in the declaration, and where it is; :meth:`done` rejects keys that were never taken."""

    def __init__(self, place: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise _Problem(place, "must be a mapping")
        self.place = place
        self.left = dict(value)
        self._known: list[str] = []

    def problem(self, what: str) -> _Problem:
        return _Problem(self.place, what)

    def take(self, key: str) -> Any:
        self._known.append(key)
        return self.left.pop(key, None)

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            raise self.problem(f"{key!r} must be text")
        return value

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        value = self.text(key, default) or default
        if value not in known:
            raise self.problem(f"{key!r} must be one of {', '.join(known)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.problem(f"{key!r} must be true or false")
        return value

    def number(self, key: str, low: int, high: int, default: int) -> int:
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.problem(f"{key!r} must be a whole number from {low:,} to {high:,}")
        return value

    def fragment(self, key: str) -> Fragment | None:
        """SQL text: one for all dialects, or a mapping of dialects."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, Mapping):
            part = _Entry(f"{self.place}, {key}", value)
            texts = {}
            for name in value:
                try:
                    dialect = canonical(str(name))
                except Refused as refused:
                    raise part.problem(refused.message.rstrip(".")) from None
                texts[dialect] = _sql(part.text(name), part.place)
            if not texts:
                raise part.problem("has no text")
            return texts
        return everywhere(_sql(value, f"{self.place}, {key}"))

    def done(self) -> None:
        for key in self.left:
            near = difflib.get_close_matches(str(key), self._known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(self._known)}"
            raise self.problem(f"unknown key {key!r}; {hint}")


def _sql(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Problem(place, "must be SQL text")
    text = value.strip()
    if text.endswith(";") or "\0" in text:
        raise _Problem(place, "must be one statement without ';' at its end")
    return text


def _name(value: Any, place: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise _Problem(place, f"the name {value!r} must be letters, digits and '_', and not begin with a digit")
    return value


def _dataset(name: Any, declared: Any) -> Dataset:
    place = f"Dataset {name!r}"
    _name(name, place)
    entry = _Entry(place, declared)
    query = entry.fragment("query")
    if query is None:
        raise entry.problem("'query' is missing")
    dataset = Dataset(
        name=name,
        title=entry.text("title", name) or name,
        connection=entry.text("connection", "main") or "main",
        query=query,
        columns=_columns(entry),
        filters=_filters(entry),
        order=entry.fragment("order"),
        scope="user" if entry.choice("scope", ("user", "all"), "user") == "user" else "all",
    )
    entry.done()
    _check_sql(dataset, place)
    return dataset


def _check_sql(dataset: Dataset, place: str) -> None:
    """The names in query, conditions and order must be consistent in every dialect that one of them has text for."""
    conditions = dataset.fragments
    texts = [dataset.query, *conditions.values(), *([] if dataset.order is None else [dataset.order])]
    named = {dialect: None for fragment in texts for dialect in fragment if dialect != ANY}
    for dialect in [d for d in named or {ANY: None} if for_dialect(dataset.query, d) is not None]:
        query = for_dialect(dataset.query, dialect) or ""
        shown = "every dialect" if dialect == ANY else dialect
        names = names_of(query)
        if dataset.scope == "user" and USER not in names:
            raise _Problem(place, f"the query for {shown} must bind :user, or the scope must be 'all'")
        if unknown := [n for n in names if n != USER]:
            raise _Problem(place, f"the query for {shown} binds :{unknown[0]}; only :user is allowed there")
        if conditions and query.count(FILTERS) != 1:
            raise _Problem(place, f"the query for {shown} must have {FILTERS} once, where conditions go")
        for param, fragment in conditions.items():
            text = for_dialect(fragment, dialect)
            if text is None:
                raise _Problem(place, f"the condition of {param!r} has no text for {shown}")
            _check_condition(text, param, place)
        if dataset.order is not None and for_dialect(dataset.order, dialect) is None:
            raise _Problem(place, f"'order' has no text for {shown}")
    if dataset.order is None and any(isinstance(entry.kind, Limit) for entry in dataset.filters):
        raise _Problem(place, "a limit needs an 'order'; without one it selects arbitrary rows")


def _check_condition(text: str, param: str, place: str) -> None:
    names = names_of(text)
    if param not in names:
        raise _Problem(place, f"the condition of {param!r} must bind :{param}")
    if unknown := [n for n in names if n not in (param, USER)]:
        raise _Problem(place, f"the condition of {param!r} binds :{unknown[0]}, which is not its parameter")


def _columns(entry: _Entry) -> tuple[Column, ...]:
    declared = _Entry(f"{entry.place}, columns", entry.take("columns") or {})
    names = list(declared.left)
    if not names:
        raise entry.problem("'columns' is missing: the names and types of the query's columns")
    return tuple(_column(str(name), declared.take(name), declared.place) for name in names)


def _column(name: str, value: Any, place: str) -> Column:
    place = f"{place.removesuffix('s')} {name!r}"
    entry = _Entry(place, {"type": value} if isinstance(value, str) else value)
    kind = (entry.text("type") or "").replace(" ", "")
    match = TYPE.fullmatch(kind)
    if match is None or (match["decimal"] and not int(match["scale"]) <= int(match["precision"]) <= 38):
        raise entry.problem(f"'type' must be one of {TYPES_SHOWN}")
    stored = entry.text("stored")
    allowed = next((names for group, names in STORED.items() if match[group]), ())
    if stored is not None and stored not in allowed:
        raise entry.problem(
            "'stored' must be minor_units for a decimal, or epoch_s, epoch_ms or julian_day for a date, datetime or "
            "timestamp"
        )
    width = entry.take("width")
    if width is not None and (isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 255):
        raise entry.problem("'width' must be a number of characters up to 255")
    as_text = entry.flag("as_text", False)
    # PostgreSQL has no order of its type json.
    sortable = entry.flag("sortable", kind not in ("json", "binary"))
    column = Column(name, kind, entry.text("label"), width, entry.text("format"), as_text, stored, sortable)
    entry.done()
    return column


def _filters(entry: _Entry) -> tuple[Filter, ...]:
    declared = _Entry(f"{entry.place}, filters", entry.take("filters") or {})
    filters: list[Filter] = []
    params: dict[str, str] = {USER: "the calling user"}
    for name in list(declared.left):
        part = _Entry(f"{entry.place}, filter {name!r}", declared.take(name))
        _name(name, part.place)
        entry_filter = _KINDS[part.choice("type", tuple(_KINDS), "")](name, part)
        part.done()
        for param in entry_filter.params:
            if param in params:
                raise part.problem(f"the parameter {param!r} already belongs to {params[param]}")
            params[param] = f"filter {name!r}"
        if isinstance(entry_filter.kind, Limit) and any(isinstance(other.kind, Limit) for other in filters):
            raise part.problem("a dataset can have only one limit")
        filters.append(entry_filter)
    return tuple(filters)


def _where(part: _Entry, key: str = "where") -> Fragment:
    fragment = part.fragment(key)
    if fragment is None:
        raise part.problem(f"{key!r} is missing: the condition in SQL")
    return fragment


def _conditions(part: _Entry, made: Mapping[str, tuple[str, str]]) -> tuple[dict[str, Fragment], Fragment | None]:
    """The condition of each parameter in ``made``: declared as its key there, or its SQL of the declared ``column``,
    which is returned as well."""
    column = part.fragment("column")
    if column is None:
        return {param: _where(part, key) for param, (key, _) in made.items()}, None
    for key, _ in made.values():
        if key in part.left:
            raise part.problem(f"has both 'column' and {key!r}; give one of them")
    return {param: around(column, sql) for param, (_, sql) in made.items()}, column


def _empty(name: str, column: Fragment | None, condition: str = "{column} IS NULL") -> dict[str, Operator]:
    """The operator of a filter with a column."""
    return {} if column is None else {"is_empty": Empty(name, around(column, condition))}


def _ends(
    name: str, part: _Entry, keys: tuple[str, str], suffixes: tuple[str, str], comparisons: tuple[str, str]
) -> tuple[tuple[str, str], dict[str, Fragment], Fragment | None]:
    first, last = (_name(part.text(key, name + suffix), part.place) for key, suffix in zip(keys, suffixes, strict=True))
    made = {
        param: (f"where_{key}", f"{{column}} {comparison} :{param}")
        for param, key, comparison in zip((first, last), keys, comparisons, strict=True)
    }
    return (first, last), *_conditions(part, made)


def _date_range(name: str, part: _Entry) -> Filter:
    params, fragments, column = _ends(name, part, ("from", "to"), ("From", "To"), (">=", "<"))
    zone = part.text("zone", "UTC") or "UTC"
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise part.problem(f"'zone' {zone!r} is not an IANA time zone such as Europe/Berlin") from None
    bind = part.choice("bind", BIND_NAMES, "utc")
    return Filter(DateRange(name, params, fragments, zone, bind), _empty(name, column))


def _one_of(name: str, part: _Entry) -> Filter:
    values = part.take("values")
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise part.problem("'values' must be a list of texts (quote words such as yes, no, on, off)")
    fragments, column = _conditions(part, {name: ("where", f"{{column}} = :{name}")})
    kind = OneOf(name, fragments, tuple(values))
    return Filter(kind, {"not": Not(kind)} | _empty(name, column))


def _any_of(name: str, part: _Entry) -> Filter:
    items = part.choice("items", ("text", "integer"), "text")
    fragments, column = _conditions(part, {name: ("where", f"{{column}} IN (:{name})")})
    kind = AnyOf(
        name, fragments, "integer" if items == "integer" else "text", part.number("items_max", 1, 10_000, 1000)
    )
    return Filter(kind, {"not": Not(kind)} | _empty(name, column))


def _number_range(name: str, part: _Entry) -> Filter:
    params, fragments, column = _ends(name, part, ("min", "max"), ("Min", "Max"), (">=", "<="))
    return Filter(NumberRange(name, params, fragments, part.number("scale", 0, 18, 0)), _empty(name, column))


_LIKE = "ESCAPE '!'"
_MATCHES: dict[Match, str] = {
    "equals": "{column} = :name",
    "contains": f"{{column}} LIKE :name {_LIKE}",
    "starts_with": f"{{column}} LIKE :name {_LIKE}",
}


def _text(name: str, part: _Entry) -> Filter:
    chosen = part.choice("match", tuple(_MATCHES), "equals")
    match = next(known for known in _MATCHES if known == chosen)
    conditions = {known: condition.replace(":name", f":{name}") for known, condition in _MATCHES.items()}
    fragments, column = _conditions(part, {name: ("where", conditions[match])})
    if match != "equals" and not all(_LIKE in text for text in fragments[name].values()):
        raise part.problem(f"'where' must be LIKE with {_LIKE}, so that % and _ in a value are literal")
    kinds = {match: Text(name, fragments, match)}
    if column is not None:
        kinds = {known: Text(name, {name: around(column, sql)}, known) for known, sql in conditions.items()}
    operators: dict[str, Operator] = {"not": Not(kinds[match])}
    for known, kind in kinds.items():
        operators |= {known: kind, f"not.{known}": Not(kind)}
    return Filter(kinds[match], operators | _empty(name, column, "({column} IS NULL OR {column} = '')"))


def _limit(name: str, part: _Entry) -> Filter:
    return Filter(Limit(name, part.number("max", 1, INTEGER_MAX, INTEGER_MAX)), {})


_KINDS: dict[str, Callable[[str, _Entry], Filter]] = {
    "date_range": _date_range,
    "one_of": _one_of,
    "any_of": _any_of,
    "number_range": _number_range,
    "text": _text,
    "limit": _limit,
}
