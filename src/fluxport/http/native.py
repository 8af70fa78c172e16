"""The native API for exports: ``/v1/stream`` and ``/v1/exports``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport.errors import Refused
from fluxport.http.bridge import DirectStreams
from fluxport.http.callers import Callers
from fluxport.http.events import events_response
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.jobs.links import Links
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import FINAL, Status
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.submit import Submitter
from fluxport.jobs.transfers import Transfers, cancel
from fluxport.jobs.view import job_json
from fluxport.jobs.watch import Watch
from fluxport.spec import ExportSpec
from fluxport.strict_json import read_json

PAGE_MAX = 100


@dataclass(frozen=True)
class NativeApi:
    """What the routes share."""

    store: JobStore
    callers: Callers
    links: Links

    def export_json(self, record: Record, request: Request) -> dict[str, Any]:
        now = self.store.clock()
        return job_json(record, now, self.links.make(record, str(request.base_url), now))


def router(
    store: JobStore,
    submitter: Submitter,
    transfers: Transfers,
    watch: Watch,
    streams: DirectStreams,
    callers: Callers,
    links: Links,
) -> Router:
    routes = Router(prefix="/v1", tags=["exports"])
    api = NativeApi(store, callers, links)
    add_stream(routes, streams, callers)
    add_exports(routes, api, submitter)
    add_export(routes, api, transfers, watch)
    return routes


def add_stream(routes: Router, streams: DirectStreams, callers: Callers) -> None:
    @routes.post("/stream", operation_id="stream_export", summary="Export as a direct stream")
    async def stream(request: Request) -> Response:
        caller, body = await callers.verified(request)
        spec = ExportSpec.from_json(read_json(body))
        return await streams.response(spec, caller, request)


def add_exports(routes: Router, api: NativeApi, submitter: Submitter) -> None:
    store, callers, export_json = api.store, api.callers, api.export_json

    @routes.post("/exports", status_code=202, operation_id="create_export", summary="Queue an export")
    async def create(request: Request) -> Response:
        caller, body = await callers.verified(request)
        export_request = ExportRequest.from_json(read_json(body))
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= 255:
            raise Refused("An Idempotency-Key has 1 to 255 characters.", code="bad_idempotency_key")
        record, new = await run_in_threadpool(
            submitter.submit,
            export_request,
            caller,
            api="native",
            idempotency=(key, hashlib.sha256(body).hexdigest()) if key else None,
        )
        headers = {"Location": f"/v1/exports/{record.id}", "Retry-After": "1"}
        return JSONResponse(export_json(record, request), 202 if new else 200, headers)

    @routes.get("/exports", operation_id="list_exports", summary="Your exports, newest first")
    async def page(
        request: Request, status: str | None = None, limit: int = 20, starting_after: str | None = None
    ) -> Response:
        caller, _ = await callers.verified(request)
        if status is not None and status not in get_args(Status):
            raise Refused(f"'status' is one of: {', '.join(get_args(Status))}.", code="bad_status")
        if not 1 <= limit <= PAGE_MAX:
            raise Refused(f"'limit' is 1 to {PAGE_MAX}.", code="bad_limit")
        records = await run_in_threadpool(
            lambda: store.page(caller, status=status, limit=limit + 1, starting_after=starting_after)  # type: ignore[arg-type]  # a Status, as checked above
        )
        items = [export_json(record, request) for record in records[:limit]]
        return JSONResponse({"data": items, "has_more": len(records) > limit}, headers=NO_STORE)


def add_export(routes: Router, api: NativeApi, transfers: Transfers, watch: Watch) -> None:
    store, callers, export_json = api.store, api.callers, api.export_json

    @routes.get("/exports/{export_id}", operation_id="get_export", summary="The state of an export or a stream")
    async def show(request: Request, export_id: str) -> Response:
        caller, _ = await callers.verified(request)
        record = await run_in_threadpool(store.get, export_id, caller)
        waiting = {} if record.status in FINAL else {"Retry-After": "1"}
        return JSONResponse(export_json(record, request), headers=NO_STORE | waiting)

    @routes.delete("/exports/{export_id}", operation_id="cancel_export", summary="Cancel an export")
    async def canceled(request: Request, export_id: str) -> Response:
        caller, _ = await callers.verified(request)
        record = await run_in_threadpool(cancel, export_id, caller, store, transfers)
        return JSONResponse(export_json(record, request), headers=NO_STORE)

    @routes.get(
        "/exports/{export_id}/events",
        operation_id="export_events",
        summary="The progress and the end of an export, as server-sent events",
    )
    async def events(request: Request, export_id: str) -> Response:
        caller, _ = await callers.verified(request)
        await run_in_threadpool(store.get, export_id, caller)
        return await events_response(request, watch, export_id)
