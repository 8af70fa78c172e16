"""FluxQuery's API, compatible with its clients: ``POST /export`` and ``GET /jobs``."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport import formats
from fluxport.errors import Refused
from fluxport.http.callers import BOTH, Callers
from fluxport.http.routing import Router
from fluxport.jobs.links import Links
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import Status
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.storing import FLUXQUERY
from fluxport.jobs.submit import Submitter
from fluxport.jobs.view import job_json
from fluxport.spec import ExportSpec
from fluxport.strict_json import read_json

OLD_FORMATS = {"json": "jsonl"}  # formats whose name differs from the one in the table
STATUS_NAMES: dict[Status, str] = {
    "queued": "PENDING",
    "running": "PROCESSING",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "canceled": "FAILED",
    "expired": "COMPLETED",
}
# One address without a display name, and no character that could start a second header or recipient.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def router(store: JobStore, submitter: Submitter, callers: Callers, links: Links, *, compression: str) -> Router:
    routes = Router(tags=["FluxQuery"])

    @routes.post("/export", status_code=202, operation_id="fluxquery_export", summary="Queue an export of a query")
    async def export(request: Request) -> Response:
        caller, body, signature = await callers.repeatable(request)
        spec, email = read_request(read_json(body), compression)
        wanted = ExportRequest(spec, {"email": [email]} if email else {})
        once = (f"signature {signature}", hashlib.sha256(body).hexdigest()) if signature else None
        record, _ = await run_in_threadpool(submitter.submit, wanted, caller, api=FLUXQUERY, idempotency=once)
        return JSONResponse({"job_id": record.id}, 202)

    @routes.get("/jobs", operation_id="fluxquery_job", summary="The status; for a signed request, all details")
    async def jobs(request: Request, id: str = "") -> Response:
        if not id:
            raise Refused("Add the job's id: /jobs?id=<job_id>.", code="no_id")
        headers = {"Cache-Control": "no-store"}
        if not callers.proves(request):
            record = await run_in_threadpool(store.get, id)
            return JSONResponse({"status": STATUS_NAMES[record.status]}, headers=headers)
        caller, _ = await callers.verified(request, BOTH)
        record = await run_in_threadpool(store.get, id, caller)
        details = await run_in_threadpool(job_details, record, links, str(request.base_url), store.clock())
        return JSONResponse(details, headers=headers)

    return routes


def read_request(body: Any, compression: str) -> tuple[ExportSpec, str | None]:
    """The export and the mail address of the body ``{"query", "email", "format"}``; Refused (400) if it is invalid."""
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


def job_details(record: Record, links: Links, base: str, now: float) -> dict[str, Any]:
    """The details of a job, for a signed request."""
    job = job_json(record, now, links.make(record, base, now, lasting=True))
    file = job["files"][0] if job["files"] else {}
    return {
        "status": STATUS_NAMES[record.status],
        "job_id": record.id,
        "rows": job["rows"],
        "bytes": job["bytes"],
        "sha256": file.get("sha256"),
        "filename": file.get("name"),
        "download_url": job["download"]["url"] if job["download"] else None,
        "error": job["error"]["message"] if job["error"] else None,
        "error_code": job["error"]["code"] if job["error"] else None,
    } | {key: job[key] for key in ("columns", "warnings", "created_at", "started_at", "finished_at", "expires_at")}
