"""What requests may name: connections, datasets, sensors and stores. A request is resolved and checked against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fluxport.auth.caller import Caller
from fluxport.datasets import Dataset
from fluxport.errors import Disabled, Refused
from fluxport.plan import Checked, Connection, Export, Origin, Sensors, check, of_dataset, of_query, of_sensors
from fluxport.series import SensorStore
from fluxport.spec import ExportSpec
from fluxport.stages import Limits, Sink


@dataclass(frozen=True)
class Catalog:
    """``limits`` are those of each export."""

    connections: Mapping[str, Connection]
    sinks: Mapping[str, Sink]
    limits: Limits
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    sensors: Sensors | None = None

    @property
    def queries_max(self) -> dict[str, int]:
        """How many exports may read at once, by connection name."""
        limits = {name: c.queries_max for name, c in self.connections.items()}
        if self.sensors is not None:
            limits.setdefault(self.sensors.connection, self.sensors.queries_max)
        return limits

    @property
    def sensors_embedded(self) -> bool:
        """Whether there is a sensor store that this process reads itself, without a connection."""
        return self.sensors is not None and self.sensors.connection not in self.connections

    def sensor_store(self) -> SensorStore:
        """The sensor store; Disabled if none is configured."""
        if self.sensors is None:
            raise Disabled(
                "No sensor store is configured; set series.path or series.connection.",
                code="no_series",
            )
        return self.sensors.store

    def dataset(self, name: str) -> Dataset:
        dataset = self.datasets.get(name)
        if dataset is None:
            raise Refused(f"Unknown dataset {name!r}; GET /v1/datasets lists the datasets.", code="unknown_dataset")
        return dataset

    def located(self, spec: ExportSpec) -> ExportSpec:
        """The spec with the connection that its rows come from."""
        if spec.series is not None and self.sensors is not None:
            return replace(spec, connection=self.sensors.connection)
        return spec if spec.dataset is None else replace(spec, connection=self.dataset(spec.dataset).connection)

    def origin(self, spec: ExportSpec, owner: str) -> Origin:
        """The source of the rows; for a dataset, only the rows that ``owner`` may see."""
        if spec.series is not None:
            return of_sensors(spec, self.sensor_store)
        connection = self.connections.get(spec.connection)
        if connection is None:
            raise Refused(
                f"Unknown connection {spec.connection!r}; choose one of: {', '.join(sorted(self.connections))}.",
                code="unknown_connection",
            )
        if spec.dataset is not None:
            return of_dataset(spec, connection, self.dataset(spec.dataset), owner)
        return of_query(spec, connection)

    def check(
        self,
        spec: ExportSpec,
        owner: str,
        *,
        origin: Origin | None = None,
        limits: Limits | None = None,
        may_split: bool = False,
    ) -> Checked:
        """Check everything that can be refused without a database. ``origin`` is the source of a push; ``limits``
        replace those of the catalog."""
        origin = self.origin(spec, owner) if origin is None else origin
        if spec.store not in self.sinks:
            raise Refused(
                f"Unknown store {spec.store!r}; choose one of: {', '.join(sorted(self.sinks))}.", code="unknown_store"
            )
        return check(spec, origin, limits=limits or self.limits, user=owner, may_split=may_split)

    def allowed(
        self, spec: ExportSpec, caller: Caller, *, origin: Origin | None = None, may_split: bool = False
    ) -> Checked:
        """The checked request, with the connection that it reads in its ``spec``. Raises if the caller may not make it,
        or if it is invalid as far as can be known before anything is written."""
        caller.need(spec.scope)
        spec = self.located(spec)
        checked = self.check(spec, caller.owner, origin=origin, may_split=may_split)
        if spec.series is not None:
            _ = checked.rows.source.schema  # raises if the store lacks one of the sensors; opens nothing
        return checked

    def plan(self, spec: ExportSpec, export_id: str, owner: str) -> Export:
        """The export of a stored request, for a worker to run; it may become several files."""
        return self.check(spec, owner, may_split=True).open(export_id)
