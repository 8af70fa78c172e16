"""The request for an export, checked only for its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fluxport.errors import Refused


@dataclass(frozen=True)
class ExportSpec:
    """What to export; the body of ``POST /v1/exports`` and ``/v1/stream``, checked only for its shape.

    With ``dataset`` there is no ``query``, ``params`` are its filters, and ``connection`` is the dataset's; ``sort``,
    ``limit`` and ``offset`` are for :meth:`fluxport.datasets.Dataset.compile`, which checks them.
    With ``series`` there is neither: it is the object ``source`` of sensors (sources/series.py).
    With ``pushed``, the names and types of columns, the caller sends the rows and no connection is read.
    """

    query: str = ""
    connection: str = "main"
    params: Any = ()
    format: str = "csv"
    options: Mapping[str, Any] = field(default_factory=dict)
    compression: str = "none"
    filename: str | None = None
    store: str = "local"
    dataset: str | None = None
    series: Mapping[str, Any] | None = None
    pushed: Sequence[Mapping[str, str]] | None = None
    sort: Any = None
    limit: Any = None
    offset: Any = None

    @property
    def scope(self) -> str:
        """The scope that a caller needs for this export."""
        if self.series is not None:
            return "series"
        if self.pushed is not None:
            return "push"
        if self.dataset is not None:
            return f"dataset:{self.dataset}"
        return f"sql:{self.connection}"

    @property
    def source(self) -> dict[str, Any]:
        """Where the rows come from, as the audit records it."""
        if self.series is not None:
            return dict(self.series)
        if self.pushed is not None:
            return {"pushed": list(self.pushed)}
        return {name: getattr(self, name) for name in ("query", "dataset", "connection", "params")} | self.rows

    @property
    def rows(self) -> dict[str, Any]:
        """What the caller chose of the order and the page of a dataset."""
        chosen = {name: getattr(self, name) for name in ROWS}
        return {name: value for name, value in chosen.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """As it is stored. Neighbouring versions can read what uses none of their newer fields."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, body: Any) -> ExportSpec:
        if not isinstance(body, Mapping):
            raise Refused("The body must be a JSON object with at least 'source'.", code="bad_body")
        _known(body, ("source", "format", "options", "compression", "filename", "store"), "body")
        source = body.get("source")
        if not isinstance(source, Mapping):
            raise Refused('\'source\' must be an object such as {"query": "SELECT ..."}.', code="bad_source")
        kinds = [kind for kind in SOURCE_KEYS if kind in source]
        if len(kinds) != 1:
            raise Refused("'source' has either 'query', 'dataset' or 'sensor_id'.", code="bad_source")
        kind = kinds[0]
        _known(source, SOURCE_KEYS[kind], "source")
        series = dict(source) if kind == "sensor_id" else None
        values = ({} if series is not None else {kind: source[kind]}) | {
            "connection": source.get("connection", cls.connection),
            "format": body.get("format", cls.format),
            "compression": body.get("compression", cls.compression),
            "filename": body.get("filename"),
            "store": body.get("store", cls.store),
        }
        for key, value in values.items():
            if not isinstance(value, str) and not (key == "filename" and value is None):
                raise Refused(f"{key!r} must be text.", code="bad_body")
        options = body.get("options", {})
        if not isinstance(options, Mapping):
            raise Refused("'options' must be an object of option names and values.", code="bad_body")
        params = source.get("params", {} if kind == "dataset" else ())
        if kind == "dataset" and not isinstance(params, Mapping):
            raise Refused("'params' must be an object of filters and their values.", code="bad_body")
        if not isinstance(params, Mapping | list | tuple):
            raise Refused("'params' must be a list or an object of values to bind.", code="bad_body")
        rows = {name: source[name] for name in ROWS if kind == "dataset" and name in source}
        return cls(**values, options=options, params=params, series=series, **rows)


ROWS = ("sort", "limit", "offset")
SOURCE_KEYS: dict[str, tuple[str, ...]] = {
    "query": ("query", "connection", "params"),
    "dataset": ("dataset", "params", *ROWS),
    "sensor_id": ("sensor_id", "start_ts", "end_ts", "layout", "aggregate", "interval", "time"),
}


def _known(given: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in names:
            import difflib

            near = difflib.get_close_matches(str(key), names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; valid are: {', '.join(names)}."
            raise Refused(f"Unknown key {key!r} in {where}{hint}", code="unknown_key")
