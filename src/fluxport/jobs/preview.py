"""The preview of an export: its first rows, after the whole request has been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fluxport.auth.caller import Caller
from fluxport.findings import Findings
from fluxport.formats.names import unique_names
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.slots import Slots
from fluxport.jobs.store import JobStore
from fluxport.jobs.transfers import Transfers
from fluxport.plan import check_form
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from fluxport.telemetry.logs import Ids

PREVIEW_ROWS = 50
PREVIEW_LIMITS = Limits(bytes_max=8 << 20, cell_bytes_max=1 << 20, deadline_s=30.0)


@dataclass(frozen=True)
class Preview:
    """``rows`` is a JSON array of objects; ``truncated``: the result has more rows. Each column is (name, type, key);
    its key in the objects differs from its name if that is empty or occurs twice."""

    columns: list[tuple[str, str, str]]
    rows: str
    truncated: bool


def preview(
    spec: ExportSpec,
    caller: Caller,
    catalog: Catalog,
    slots: Mapping[str, Slots],
    store: JobStore,
    transfers: Transfers,
) -> Preview:
    """The first rows, read while holding one of the connection's ``slots``; ``store`` gets a line of the audit."""
    transfers.check_open()
    caller.need(spec.scope)
    spec = catalog.located(spec)
    form = check_form(spec, None if spec.dataset is None else catalog.dataset(spec.dataset))
    rows = form.options.limit
    preview_spec = replace(
        spec,
        format="json",
        compression="none",
        options={name: spec.options[name] for name in ("columns", "timezone") if name in spec.options},
    )
    limits = replace(PREVIEW_LIMITS, rows=PREVIEW_ROWS if rows is None else min(rows, PREVIEW_ROWS))
    export = catalog.check(preview_spec, caller.owner, limits=limits).open("preview")
    export.tally.ids = Ids(request_id=caller.request_id, traceparent=caller.traceparent)
    with slots[spec.connection].held():
        text = b"".join(export.chunks()).decode()
    tally = export.tally
    detail: dict[str, Any] = {"columns": [name for name, _ in tally.columns], "rows": tally.rows}
    store.note("preview", caller.owner, "completed", address=caller.address, source=spec.source, **detail)
    keys = unique_names([name for name, _ in tally.columns], Findings())
    columns = [(name, kind, key) for (name, kind), key in zip(tally.columns, keys, strict=True)]
    return Preview(columns, text, tally.truncated)
