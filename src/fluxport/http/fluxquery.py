"""FluxQuery's door: ``POST /export`` and ``GET /jobs``, as its clients know them."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport import formats
from fluxport.auth.signing import Version
from fluxport.errors import Refused
from fluxport.http.callers import Callers
from fluxport.http.routing import Router
from fluxport.jobs.exports import Exports
from fluxport.jobs.links import Links
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import Status
from fluxport.jobs.store import Record
from fluxport.jobs.view import job_json
from fluxport.spec import ExportSpec
from fluxport.strict_json import read_json

OLD_FORMATS = {"json": "jsonl"}  # what its clients call by another name; the others are those of the table
BOTH: tuple[Version, ...] = ("v1", "v2")
STATUS_WORDS: dict[Status, str] = {
    "queued": "PENDING",
    "running": "PROCESSING",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "canceled": "FAILED",
    "expired": "COMPLETED",
}
# One address, no display name, nothing that could start a second header or a second recipient.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def router(exports: Exports, callers: Callers, links: Links, *, compression: str) -> Router:
    routes = Router(tags=["FluxQuery"])

    @routes.post("/export", status_code=202, operation_id="fluxquery_export", summary="Queue an export of a query")
    async def export(request: Request) -> Response:
        caller, body = await callers.verified(request, BOTH)
        spec, email = read_request(read_json(body), compression)
        notify = {"email": [email]} if email else {}
        asked = ExportRequest(spec, notify)
        record, _ = await run_in_threadpool(exports.submit, asked, caller, door="fluxquery")
        return JSONResponse({"job_id": record.id}, 202)

    @routes.get("/jobs", operation_id="fluxquery_job", summary="The status word; to a signed request, everything")
    async def jobs(request: Request, id: str = "") -> Response:
        if not id:
            raise Refused("Add the job's id: /jobs?id=<job_id>.", code="no_id")
        headers = {"Cache-Control": "no-store"}
        if not callers.proves(request):
            record = await run_in_threadpool(exports.store.get, id)
            return JSONResponse({"status": STATUS_WORDS[record.status]}, headers=headers)
        caller, _ = await callers.verified(request, BOTH)
        record = await run_in_threadpool(exports.store.get, id, caller)
        told = await run_in_threadpool(everything, record, links, str(request.base_url), exports.store.clock())
        return JSONResponse(told, headers=headers)

    return routes


def read_request(body: Any, compression: str) -> tuple[ExportSpec, str | None]:
    """The old body ``{"query", "email", "format"}``; Refused (400) with what is wrong with it."""
    if not isinstance(body, dict):
        raise Refused('The body must be a JSON object such as {"query": "SELECT ..."}.', code="bad_body")
    query, email, name = body.get("query"), body.get("email") or None, body.get("format") or ExportSpec.format
    if not isinstance(query, str) or not query.strip():
        raise Refused("'query' must be a SELECT statement.", code="bad_query")
    if not isinstance(name, str):
        raise Refused("'format' must be text.", code="unknown_format")
    form = formats.canonical(OLD_FORMATS.get(name.lower(), name))
    if formats.FORMATS[form].compresses_inside:
        compression = "none"
    if email is not None and not (isinstance(email, str) and _EMAIL.fullmatch(email) and ".." not in email):
        raise Refused("'email' must be one plain address such as name@example.com.", code="bad_email")
    return ExportSpec(query=query, format=form, compression=compression), email


def everything(record: Record, links: Links, base: str, now: float) -> dict[str, Any]:
    told = job_json(record, links.make(record, base, now, lasting=True))
    file = told["files"][0] if told["files"] else {}
    return {
        "status": STATUS_WORDS[record.status],
        "job_id": record.id,
        "rows": told["rows"],
        "bytes": told["bytes"],
        "sha256": file.get("sha256"),
        "filename": file.get("name"),
        "download_url": told["download"]["url"] if told["download"] else None,
        "error": told["error"]["message"] if told["error"] else None,
        "error_code": told["error"]["code"] if told["error"] else None,
    } | {key: told[key] for key in ("columns", "warnings", "created_at", "started_at", "finished_at", "expires_at")}
