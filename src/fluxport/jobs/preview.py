"""The preview of an export for a caller of the service: after the whole request has been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fluxport.auth.caller import Caller
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.slots import Slots
from fluxport.jobs.store import JobStore
from fluxport.jobs.transfers import Transfers
from fluxport.plan import check_form
from fluxport.preview import PREVIEW_LIMITS, Preview, preview_spec, read
from fluxport.spec import ExportSpec
from fluxport.telemetry.logs import Ids

PREVIEW_ROWS = 50


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
    dataset = None if spec.dataset is None else catalog.dataset(spec.dataset)
    form = check_form(spec, dataset, connection=spec.connection, user=caller.owner)
    rows = form.options.limit
    limits = replace(PREVIEW_LIMITS, rows=PREVIEW_ROWS if rows is None else min(rows, PREVIEW_ROWS))
    export = catalog.check(preview_spec(spec), caller.owner, limits=limits).open("preview")
    export.tally.ids = Ids(request_id=caller.request_id, traceparent=caller.traceparent)
    with slots[spec.connection].held():
        shown = read(export)
    detail: dict[str, Any] = {"columns": [name for name, _, _ in shown.columns], "rows": export.tally.rows}
    store.note("preview", caller.owner, "completed", address=caller.address, source=spec.source, **detail)
    return shown
