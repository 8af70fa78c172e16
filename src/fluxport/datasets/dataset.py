"""A declared dataset: compiles a caller's parameters to a statement with bound values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fluxport.datasets.columns import Column, typed
from fluxport.datasets.filters import Condition, Filter, Limit, Wrong
from fluxport.datasets.sqltext import Fragment, canonical, for_dialect, names_of
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

    def compile(self, dialect: str, params: Mapping[str, Any], user: str) -> tuple[str, dict[str, Any]]:
        """The statement with ``:name`` parameters, and their values; parameters that are None are ignored.

        Refused (``unknown_filter``, ``bad_filter``, ``no_query``) with the accepted names or values.
        """
        dialect = canonical(dialect)
        query = for_dialect(self.query, dialect)
        if query is None:
            raise Refused(
                f"Dataset {self.name!r} has no query for {dialect}; it has: {', '.join(sorted(self.query))}.",
                code="no_query",
            )
        given = {name: value for name, value in params.items() if value is not None}
        self._check_names(given)
        conditions, limit = self._conditions(given, dialect)
        text = query.replace(FILTERS, " AND ".join(f"({c.sql})" for c in conditions) or "1 = 1")
        if self.order is not None:
            text += f"\nORDER BY {for_dialect(self.order, dialect)}"
        if limit is not None:
            text += f"\n{limit.sql}"
        values = {name: value for c in (*conditions, *filter(None, [limit])) for name, value in c.values.items()}
        if USER in names_of(text):
            values[USER] = user
        return text, values

    def _check_names(self, given: Mapping[str, Any]) -> None:
        known = [param for entry in self.filters for param in entry.params]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known) or 'none'}."
                raise Refused(f"Unknown filter {name!r} of dataset {self.name!r}; {hint}", code="unknown_filter")

    def _conditions(self, given: Mapping[str, Any], dialect: str) -> tuple[list[Condition], Condition | None]:
        conditions: list[Condition] = []
        limit = None
        for entry in self.filters:
            if given.keys().isdisjoint(entry.params):
                continue
            try:
                entry_conditions = entry.conditions(given, dialect)
            except Wrong as wrong:
                raise Refused(
                    f"Filter {wrong.param!r} of dataset {self.name!r} takes {wrong.expected}.", code="bad_filter"
                ) from None
            if isinstance(entry, Limit):
                (limit,) = entry_conditions
            else:
                conditions += entry_conditions
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
            "columns": [
                {
                    "name": column.name,
                    "type": column.type,
                    "label": column.label or column.name,
                    "width": column.width,
                    "format": column.format,
                    "as_text": column.as_text,
                }
                for column in self.columns
            ],
            "filters": [{"name": f.name, "params": list(f.params), **f.describe()} for f in self.filters],
        }
