"""Filters, and their kinds: each checks the values of its parameters and returns its declared SQL conditions.

A condition is fixed text from the declaration, inserted as a whole or not at all; values are bound. Every kind has the
names of its parameters (``params``), :meth:`conditions` and :meth:`describe`; a wrong value raises :class:`Wrong`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from math import ceil, floor
from typing import Any, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from fluxport.datasets import moments
from fluxport.datasets.sqltext import Fragment, for_dialect, replaced

TEXT_MAX = 1000
INTEGER_MAX = 2**63 - 1


class Wrong(ValueError):
    """``param`` has an invalid value; the message says which values are valid."""

    def __init__(self, param: str, expected: str) -> None:
        super().__init__(expected)
        self.param = param
        self.expected = expected


class Condition(NamedTuple):
    sql: str
    values: dict[str, Any]


class Operator(Protocol):
    @property
    def name(self) -> str: ...
    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        """The conditions of the parameters in ``given``, of which at least one is its own: an operator of a filter has
        only that of its ``name``."""
        ...


class Kind(Operator, Protocol):
    @property
    def params(self) -> tuple[str, ...]: ...
    @property
    def fragments(self) -> Mapping[str, Fragment]:
        """The declared SQL by parameter."""
        ...

    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Filter:
    """A declared filter. Beside the parameters of its kind it has keys ``NAME.OPERATOR``, each with a condition of its
    own."""

    kind: Kind
    operators: Mapping[str, Operator]

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def params(self) -> tuple[str, ...]:
        return self.kind.params

    @property
    def keys(self) -> dict[str, Operator]:
        """The further keys."""
        return {f"{self.name}.{word}": operator for word, operator in self.operators.items()}

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        """The conditions of what ``given`` has for this filter."""
        found = [] if given.keys().isdisjoint(self.params) else self.kind.conditions(given, dialect)
        for key, operator in self.keys.items():
            if key in given:
                try:
                    found += operator.conditions({operator.name: given[key]}, dialect)
                except Wrong as wrong:
                    raise Wrong(key, wrong.expected) from None
        return found

    def describe(self) -> dict[str, Any]:
        named = {"name": self.name, "params": list(self.params)}
        return named | self.kind.describe() | {"operators": list(self.operators)}


def _condition(fragments: Mapping[str, Fragment], param: str, dialect: str, values: dict[str, Any]) -> Condition:
    text = for_dialect(fragments[param], dialect)
    assert text is not None, "declarations.py checked that every dialect of the query has its fragment"
    return Condition(text, values)


@dataclass(frozen=True)
class DateRange:
    """From one day or instant to another; the last day is included."""

    name: str
    params: tuple[str, str]
    fragments: Mapping[str, Fragment]
    zone: str = "UTC"
    bind: str = "utc"

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        zone = ZoneInfo(self.zone)
        parsed = {param: self._parsed(given[param], param) for param in self.params if param in given}
        first, last = self.params
        ends = {first: moments.lower, last: moments.upper}
        try:
            bound = {param: ends[param](value, zone, self.bind) for param, value in parsed.items()}
            disordered = len(parsed) == 2 and moments.disordered(parsed[first], parsed[last], zone)
        except OverflowError:
            raise Wrong(next(iter(parsed)), "days between the years 2 and 9998") from None
        if disordered:
            raise Wrong(last, f"a time that is not before {first}")
        return [_condition(self.fragments, param, dialect, {param: value}) for param, value in bound.items()]

    def _parsed(self, value: Any, param: str) -> date | datetime:
        try:
            return moments.parsed(value, days_only=self.bind == "date")
        except moments.NotATime as error:
            raise Wrong(param, str(error)) from None

    def describe(self) -> dict[str, Any]:
        instants = self.bind != "date"
        return {"type": "date_range", "zone": self.zone, "instants": instants}


@dataclass(frozen=True)
class OneOf:
    """One of fixed values."""

    name: str
    fragments: Mapping[str, Fragment]
    values: tuple[str, ...]

    @property
    def params(self) -> tuple[str, ...]:
        return (self.name,)

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        value = given[self.name]
        if value not in self.values:
            raise Wrong(self.name, f"one of {', '.join(self.values)}")
        return [_condition(self.fragments, self.name, dialect, {self.name: value})]

    def describe(self) -> dict[str, Any]:
        return {"type": "one_of", "values": list(self.values)}


@dataclass(frozen=True)
class AnyOf:
    """Any of the given values: ``IN (:name)`` is expanded to one parameter per value. An empty list matches no row."""

    name: str
    fragments: Mapping[str, Fragment]
    items: Literal["text", "integer"] = "text"
    items_max: int = 1000

    @property
    def params(self) -> tuple[str, ...]:
        return (self.name,)

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        items = self._items(given[self.name])
        if not items:
            return [Condition("1 = 0", {})]
        sql, _ = _condition(self.fragments, self.name, dialect, {})
        values = {f"{self.name}_{number}": item for number, item in enumerate(items, 1)}
        marks = ", ".join(f":{name}" for name in values)
        return [Condition(replaced(sql, {self.name: marks}), values)]

    def _items(self, value: Any) -> list[Any]:
        if isinstance(value, str):
            value = [item.strip() for item in value.split(",")] if value.strip() else []
        if not isinstance(value, Sequence) or isinstance(value, bytes):
            raise Wrong(self.name, f"a list of {self.items} values")
        if len(value) > self.items_max:
            raise Wrong(self.name, f"at most {self.items_max:,} values")
        parse = _integer if self.items == "integer" else _text
        return [parse(item, self.name) for item in value]

    def describe(self) -> dict[str, Any]:
        return {"type": "any_of", "items": self.items, "items_max": self.items_max}


@dataclass(frozen=True)
class NumberRange:
    """From one number to another, inclusive. ``scale``: the column stores whole numbers of 10 ** -scale."""

    name: str
    params: tuple[str, str]
    fragments: Mapping[str, Fragment]
    scale: int = 0

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        values = {param: _number(given[param], param) for param in self.params if param in given}
        first, last = self.params
        if first in values and last in values and values[first] > values[last]:
            raise Wrong(last, f"a number that is not below {first}")
        rounds = dict(zip(self.params, (ceil, floor), strict=True))
        bound = {p: rounds[p](v.scaleb(self.scale)) if self.scale else _plain(v) for p, v in values.items()}
        return [_condition(self.fragments, param, dialect, {param: value}) for param, value in bound.items()]

    def describe(self) -> dict[str, Any]:
        return {"type": "number_range"}


Match = Literal["equals", "contains", "starts_with"]


@dataclass(frozen=True)
class Text:
    """Equal to a text, containing it, or starting with it (``LIKE :name ESCAPE '!'``)."""

    name: str
    fragments: Mapping[str, Fragment]
    match: Match = "equals"

    @property
    def params(self) -> tuple[str, ...]:
        return (self.name,)

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        value = _text(given[self.name], self.name)
        if self.match != "equals":
            special = r"([!%_\[])" if dialect == "mssql" else r"([!%_])"
            value = re.sub(special, r"!\1", value) + "%"
        if self.match == "contains":
            value = "%" + value
        return [_condition(self.fragments, self.name, dialect, {self.name: value})]

    def describe(self) -> dict[str, Any]:
        return {"type": "text", "match": self.match}


@dataclass(frozen=True)
class Empty:
    """Without a value, or with one: ``fragment`` is true where there is none, and never NULL."""

    name: str
    fragment: Fragment

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        empty = _boolean(given[self.name], self.name)
        sql, values = _condition({self.name: self.fragment}, self.name, dialect, {})
        return [Condition(sql if empty else f"NOT ({sql})", values)]


@dataclass(frozen=True)
class Not:
    """The rows that ``kind`` leaves out, which has one parameter. Rows without a value are among them: SQL's NOT of a
    condition that is NULL would be NULL, and leave them out as well."""

    kind: Kind

    @property
    def name(self) -> str:
        return self.kind.name

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        found = self.kind.conditions(given, dialect)
        return [Condition(f"CASE WHEN {sql} THEN 0 ELSE 1 END = 1", values) for sql, values in found]


@dataclass(frozen=True)
class Limit:
    """The first rows in the dataset's order; the only filter that is not a condition."""

    name: str
    max: int = INTEGER_MAX

    @property
    def params(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def fragments(self) -> Mapping[str, Fragment]:
        return {}

    def conditions(self, given: Mapping[str, Any], dialect: str) -> list[Condition]:
        number = _integer(given[self.name], self.name)
        if not 1 <= number <= self.max:
            raise Wrong(self.name, f"a whole number from 1 to {self.max:,}")
        return [Condition(f":{self.name}", {self.name: number})]

    def describe(self) -> dict[str, Any]:
        return {"type": "limit", "max": self.max}


def _text(value: Any, param: str) -> str:
    if not isinstance(value, str) or not value or len(value) > TEXT_MAX or "\0" in value:
        raise Wrong(param, f"text of 1 to {TEXT_MAX:,} characters")
    return value


def _boolean(value: Any, param: str) -> bool:
    known = {"true": True, "false": False}
    found = value if isinstance(value, bool) else known.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise Wrong(param, "true or false")
    return found


def _integer(value: Any, param: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INTEGER_MAX:
        raise Wrong(param, "a whole number")
    return value


def _number(value: Any, param: str) -> Decimal:
    """An exact decimal of at most 38 digits; a float is read as its shortest repr."""
    if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
        try:
            number = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            raise Wrong(param, "a number such as 12.5") from None
        if number.is_finite() and len(number.as_tuple().digits) <= 38 and abs(number.adjusted()) <= 38:
            return number
    raise Wrong(param, "a number such as 12.5")


def _plain(value: Decimal) -> int | Decimal:
    return int(value) if value == value.to_integral_value() and abs(value) <= INTEGER_MAX else value
