"""A declared dataset: compiles a caller's parameters, sort and page to a statement with bound values."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fluxport.datasets.columns import Column, typed
from fluxport.datasets.filters import Condition, Filter, Limit, Wrong
from fluxport.datasets.order import SortKey, order_terms, page_clause, page_of, sort_keys
from fluxport.datasets.sqltext import ANY, Fragment, canonical, common, for_dialect, names_of, replaced
from fluxport.errors import Refused
from fluxport.stages import Step

FILTERS = "{filters}"
USER = "user"


@dataclass(frozen=True)
class Dataset:
    """``scope`` "user": the query binds ``:user``, so that callers get only their own rows; "all": every row."""

    name: str
    title: str
    connection: str
    query: Fragment
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    order: Fragment | None = None
    scope: Literal["user", "all"] = "user"

    @property
    def fragments(self) -> dict[str, Fragment]:
        """The declared conditions by parameter."""
        return {param: fragment for entry in self.filters for param, fragment in entry.kind.fragments.items()}

    @property
    def dialects(self) -> set[str]:
        """The dialects in which all of it has text; ANY alone if one text serves every source."""
        return common([self.query, *self.fragments.values(), *([] if self.order is None else [self.order])])

    def serves(self, dialect: str) -> bool:
        return not self.dialects.isdisjoint((ANY, canonical(dialect)))

    def compile(
        self,
        dialect: str,
        params: Mapping[str, Any],
        user: str,
        *,
        sort: Any = None,
        limit: Any = None,
        offset: Any = None,
    ) -> tuple[str, dict[str, Any]]:
        """The statement with ``:name`` parameters, and their values; parameters that are None are ignored.

        Rows are in the order of ``sort`` (:func:`~fluxport.datasets.order.sort_keys`), and where that leaves them equal
        in the declared one; with ``limit`` they are those of a page that begins behind ``offset`` rows.

        Refused (``unknown_filter``, ``bad_filter``, ``unknown_column``, ``bad_sort``, ``bad_page``, ``no_query``) with
        the accepted names or values.
        """
        dialect = canonical(dialect)
        if not self.serves(dialect):
            raise Refused(
                f"Dataset {self.name!r} has no query for {dialect}; it has: {', '.join(sorted(self.dialects))}.",
                code="no_query",
            )
        given = {name: value for name, value in params.items() if value is not None}
        self._check_names(given)
        keys = self._sort_keys(sort)
        page = page_of(limit, offset)
        conditions, first = self._conditions(given, dialect)
        if page is not None:
            self._check_page(first)
        bound, values = _bound([*conditions, *([] if first is None else [first])])
        end = None if first is None else bound.pop()
        text = (for_dialect(self.query, dialect) or "").replace(FILTERS, _all_of(bound))
        if self.order is not None:
            terms = [*order_terms(keys, dialect), for_dialect(self.order, dialect) or ""]
            text += f"\nORDER BY {', '.join(terms)}"
        if end is not None:
            text += f"\n{page_clause(end, None, dialect)}"
        elif page is not None:  # whole numbers, which some databases do not accept as parameters here
            text += f"\n{page_clause(str(page.limit), str(page.offset), dialect)}"
        if USER in names_of(text):
            values[USER] = user
        return text, values

    def _check_names(self, given: Mapping[str, Any]) -> None:
        params = [param for entry in self.filters for param in entry.params]
        known = [*params, *(key for entry in self.filters for key in entry.keys)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(params) or 'none'}."
                raise Refused(f"Unknown filter {name!r} of dataset {self.name!r}; {hint}", code="unknown_filter")

    def _sort_keys(self, sort: Any) -> list[SortKey]:
        keys = sort_keys(sort)
        if keys and self.order is None:
            raise Refused(
                f"Dataset {self.name!r} cannot be sorted: it has no 'order', which decides between equal rows.",
                code="bad_sort",
            )
        sortable = {column.name: column.sortable for column in self.columns}
        for key in keys:
            if key.column not in sortable:
                near = difflib.get_close_matches(key.column, sortable, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(sortable)}."
                raise Refused(f"Unknown column {key.column!r} of dataset {self.name!r}; {hint}", code="unknown_column")
            if not sortable[key.column]:
                names = ", ".join(name for name, sorts in sortable.items() if sorts) or "none"
                raise Refused(
                    f"Dataset {self.name!r} cannot be sorted by {key.column!r}; choose among: {names}.", code="bad_sort"
                )
        return keys

    def _check_page(self, first: Condition | None) -> None:
        if self.order is None:
            raise Refused(
                f"Dataset {self.name!r} has no pages: without an 'order', the same row could be on two of them.",
                code="bad_page",
            )
        if first is not None:
            raise Refused(
                "A page has its own 'limit'; give either that or the filter, which limits the rows as well.",
                code="bad_page",
            )

    def _conditions(self, given: Mapping[str, Any], dialect: str) -> tuple[list[Condition], Condition | None]:
        """The conditions of what is given, and the limit."""
        conditions: list[Condition] = []
        limit = None
        for entry in self.filters:
            try:
                found = entry.conditions(given, dialect)
            except Wrong as wrong:
                raise Refused(
                    f"Filter {wrong.param!r} of dataset {self.name!r} takes {wrong.expected}.", code="bad_filter"
                ) from None
            if isinstance(entry.kind, Limit):
                limit = found[0] if found else None
            else:
                conditions += found
        return conditions, limit

    def typed(self) -> Step:
        """The step that converts the rows to the declared columns, exactly."""
        return typed(self.name, self.columns)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The columns in the form of the formats' option ``columns``; the default if a caller chooses none."""
        return [column.choice for column in self.columns]

    def describe(self) -> dict[str, Any]:
        """The public description: columns and filters with their types; no SQL and no connection."""
        return {
            "name": self.name,
            "title": self.title,
            "paging": self.order is not None,
            "columns": [
                {
                    "name": column.name,
                    "type": column.type,
                    "label": column.label or column.name,
                    "width": column.width,
                    "format": column.format,
                    "as_text": column.as_text,
                    "sortable": column.sortable and self.order is not None,
                }
                for column in self.columns
            ],
            "filters": [entry.describe() for entry in self.filters],
        }


def _all_of(conditions: Iterable[str]) -> str:
    return " AND ".join(f"({sql})" for sql in conditions) or "1 = 1"


def _bound(conditions: Iterable[Condition]) -> tuple[list[str], dict[str, Any]]:
    """The texts of all conditions, and their values: a name that another condition has already is followed by a number.
    A filter and its operators bind the same name, and the names of a list's items may be those of other filters."""
    texts: list[str] = []
    values: dict[str, Any] = {}
    for sql, own in conditions:
        names: dict[str, str] = {}
        for name, value in own.items():
            numbered = (f"{name}_{number}" for number in itertools.count(2))
            free = next(
                n for n in itertools.chain((name,), numbered) if n not in values and n not in own.keys() - {name}
            )
            names[name], values[free] = free, value
        texts.append(replaced(sql, {name: f":{free}" for name, free in names.items()}))
    return texts, values
