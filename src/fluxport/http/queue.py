"""The Export queue's API, compatible with its clients: ``/api/exports`` and ``/api/health``.

Every export here reads a dataset, whose name is the ``type``. Its token is known from the start: it is derived from
the export's id and, once it was renewed, from the time of that, so only that time is stored. Its ten minutes begin when
the file is complete, or with the renewal. Each token is redeemed as a one-time link of the native API is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport import formats
from fluxport.auth.caller import Caller
from fluxport.auth.scopes import EVERYTHING
from fluxport.auth.sessions import DEVELOPER
from fluxport.auth.tokens import (
    ONCE,
    bad_token,
    download_token,
    link_expired,
    numbered_token,
    same_token,
    token_digest,
)
from fluxport.errors import Conflict, Disabled, Gone, NotFound, Refused
from fluxport.http.bridge import DirectStreams
from fluxport.http.callers import Callers, with_request
from fluxport.http.cookies import SAFE, check_same_origin
from fluxport.http.downloads import Downloads
from fluxport.http.events import events_response
from fluxport.http.responses import NO_STORE, REQUEST_ID
from fluxport.http.routing import Router
from fluxport.http.session import Audience, among, is_local
from fluxport.jobs.links import Links
from fluxport.jobs.outcome import expired
from fluxport.jobs.redemption import link_used
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import ACTIVE, Status
from fluxport.jobs.store import Event, JobStore, Record
from fluxport.jobs.submit import Submitter
from fluxport.jobs.view import known_total, percent
from fluxport.jobs.watch import Watch
from fluxport.spec import ExportSpec
from fluxport.strict_json import read_json

API = "queue"  # in the column "door" of the table of exports
TOKEN_S = 600
LISTED_MAX = 100
STATUS_NAMES: dict[Status, str] = {
    "queued": "queued",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "canceled": "failed",
    "expired": "completed",
}
# Parameters of a stream that are not filters.
NOT_FILTERS = ("type", "format", "selectedColumns")
# What a body says in the words of the native API.
NATIVE = ("notify", "count")


@dataclass(frozen=True)
class QueueOptions:
    """``persistent``: exports survive a restart; ``developer``: a local caller without credentials is the user ``dev``;
    ``health_for``: the audience of the counts of all users' exports."""

    enabled: bool
    persistent: bool
    developer: bool
    health_for: Audience


@dataclass(frozen=True)
class QueueApi:
    """What the routes share: authentication, lookups and tokens."""

    store: JobStore
    callers: Callers
    links: Links
    developer: bool

    async def caller(self, request: Request) -> tuple[Caller, bytes]:
        """The caller and the body."""
        callers = self.callers
        if not (self.developer and is_local(request)) or callers.has_credentials(request):
            return await callers.verified(request)
        if request.method not in SAFE and {"origin", "sec-fetch-site"} & set(request.headers):
            check_same_origin(request)
        body = await callers.body(request)
        return with_request(request, Caller(DEVELOPER, scopes=EVERYTHING, person=True)), body

    def own(self, export_id: str, caller: Caller) -> Record:
        record = self.store.get(export_id, caller)
        if record.door != API:
            raise NotFound("There is no such export.", code="no_such_export")
        return record

    def jobs(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        tokens = [token_of(record, self.links) for record in records]
        digests = [token_digest(token) for token in tokens]
        used = self.store.used_links(digests)
        every = zip(records, tokens, digests, strict=True)
        return [job_json(record, token, consumed=digest in used) for record, token, digest in every]

    def renew(self, record: Record) -> dict[str, Any]:
        """The job with a new token; the previous one counts as used from now on."""
        if record.file is None:
            raise no_file(record)
        renewed = self.store.renew_link(record.id, lambda present: token_digest(token_of(present, self.links)))
        return self.jobs([renewed])[0]

    def redeemable(self, record: Record, given: str) -> str:
        """The token to redeem for the one that was given; it may have expired. Conflict or Gone if there is no file,
        Forbidden for a token of another file or an invalid one, Gone for one that was replaced."""
        if record.file is None:
            raise no_file(record)
        token = token_of(record, self.links)
        # As services of the previous version issue it, which may share the database.
        older = download_token(self.links.secret, record.id, record.file.filename, expiry(record), ONCE)
        if not same_token(given, token) and not same_token(given, older):
            raise link_used() if self.store.used_links([token_digest(given)]) else bad_token()
        if self.store.used_links([token_digest(older)]):
            raise link_used()
        return token


def router(
    store: JobStore,
    submitter: Submitter,
    watch: Watch,
    callers: Callers,
    links: Links,
    options: QueueOptions,
    downloads: Downloads,
    streams: DirectStreams,
) -> Router:
    routes = Router(prefix="/api", tags=["Export queue"])

    @routes.get("/health", operation_id="queue_health", summary="Counts of all users' exports")
    async def health(request: Request) -> Response:
        if not among(options.health_for, request):
            raise NotFound("There is nothing at this address.")
        states, counters = await run_in_threadpool(store.measured)
        mode = "disabled" if not options.enabled else "persistent" if options.persistent else "memory"
        return enveloped({"status": "ok", "metrics": {"export": {"mode": mode} | measured(states, counters)}})

    if not options.enabled:

        @routes.api_route("/exports/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
        async def disabled(rest: str) -> Response:
            raise Disabled("The export queue is disabled; set ENABLE_EXPORT_QUEUE to enable it.")

        return routes
    api = QueueApi(store, callers, links, options.developer)
    add_jobs(routes, api, submitter, watch)
    add_files(routes, api, downloads, streams)
    return routes


def add_jobs(routes: Router, api: QueueApi, submitter: Submitter, watch: Watch) -> None:
    store, links = api.store, api.links

    @routes.post("/exports/jobs", status_code=202, operation_id="queue_create", summary="Queue an export of a dataset")
    async def create(request: Request) -> Response:
        caller, body = await api.caller(request)
        export_request, name = read_request(read_json(body))
        if name is not None:
            caller = replace(caller, request_id=name)
        record, _ = await run_in_threadpool(submitter.submit, export_request, caller, api=API)
        return enveloped(job_json(record, token_of(record, links), consumed=False), 202)

    @routes.get("/exports/jobs", operation_id="queue_jobs", summary="Your newest 100 exports of this API")
    async def listed(request: Request) -> Response:
        caller, _ = await api.caller(request)
        wanted = request.query_params.get("requestId") or None
        jobs = await run_in_threadpool(
            lambda: api.jobs(store.page(caller, api=API, request_id=wanted, limit=LISTED_MAX))
        )
        return enveloped(jobs)

    @routes.get(
        "/exports/jobs/{export_id}", operation_id="queue_job", summary="The state of an export, with its download token"
    )
    async def show(request: Request, export_id: str) -> Response:
        caller, _ = await api.caller(request)
        (job,) = await run_in_threadpool(lambda: api.jobs([api.own(export_id, caller)]))
        return enveloped(job)

    @routes.get(
        "/exports/jobs/{export_id}/events",
        operation_id="queue_events",
        summary="The progress of an export and then the job, as server-sent events",
    )
    async def events(request: Request, export_id: str) -> Response:
        caller, _ = await api.caller(request)
        await run_in_threadpool(api.own, export_id, caller)

        def ended(event: Event) -> Event:
            record = api.own(export_id, caller)
            return replace(event, kind=STATUS_NAMES[record.status], data=envelope(api.jobs([record])[0]))

        return await events_response(request, watch, export_id, ended)

    @routes.post(
        "/exports/jobs/{export_id}/token",
        operation_id="queue_token",
        summary="A new download token; the previous one expires",
    )
    async def token(request: Request, export_id: str) -> Response:
        caller, _ = await api.caller(request)
        return enveloped(await run_in_threadpool(lambda: api.renew(api.own(export_id, caller))))


def add_files(routes: Router, api: QueueApi, downloads: Downloads, streams: DirectStreams) -> None:
    @routes.get(
        "/exports/jobs/{export_id}/download", operation_id="queue_download", summary="The file, once for each token"
    )
    async def download(request: Request, export_id: str, token: str = "") -> Response:
        caller, _ = await api.caller(request)
        record = await run_in_threadpool(api.own, export_id, caller)
        redemption = await downloads.redemption(request, await run_in_threadpool(api.redeemable, record, token))
        # Who has begun to download in time may continue.
        if redemption.first and expiry(record) <= api.store.clock():
            raise link_expired()
        return downloads.response(request, record, redemption)

    @routes.get("/exports/stream", operation_id="queue_stream", summary="Export a dataset as a direct stream")
    async def stream(request: Request) -> Response:
        caller, _ = await api.caller(request)
        export_request, _ = read_request(from_query(request.query_params.multi_items()))
        return await streams.response(export_request.spec, caller, request)


def enveloped(data: Any, status: int = 200) -> Response:
    return JSONResponse(envelope(data), status, NO_STORE)


def envelope(data: Any) -> dict[str, Any]:
    return {"data": data, "error": None}


def from_query(items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A query as the body of a request; a filter that occurs several times becomes a list."""
    params: dict[str, Any] = {}
    for name, value in items:
        params[name] = value if name not in params else [*_list(params[name]), value]
    return {name: params.pop(name) for name in NOT_FILTERS if name in params} | {"params": params}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_request(body: Any) -> tuple[ExportRequest, str | None]:
    """The export of the body ``{type, format, params, selectedColumns, requestId}``, which may have ``notify`` and
    ``count`` as in the native API, and its ``requestId``; Refused if it is invalid. A filter with an empty value is
    ignored."""
    if not isinstance(body, dict):
        raise Refused('The body must be a JSON object such as {"type": "trades", "format": "csv"}.', code="bad_body")
    known = ("type", "format", "params", "selectedColumns", "requestId", *NATIVE)
    if unknown := [name for name in body if name not in known]:
        raise Refused(f"Unknown key {unknown[0]!r}; choose from: {', '.join(known)}.", code="unknown_key")
    kind, name, filters = body.get("type"), body.get("format", ExportSpec.format), body.get("params") or {}
    if not isinstance(kind, str):
        raise Refused("'type' must be the name of a dataset, such as 'trades'.", code="unknown_dataset")
    if not isinstance(name, str):
        raise Refused("'format' must be text.", code="unknown_format")
    if not isinstance(filters, dict):
        raise Refused("'params' must be an object of filters and their values.", code="bad_body")
    params = {name: value for name, value in filters.items() if value not in (None, "", [])}
    columns = body.get("selectedColumns") or params.pop("selectedColumns", None)
    wanted = body.get("requestId")
    if wanted is not None and not (isinstance(wanted, str) and REQUEST_ID.fullmatch(wanted)):
        raise Refused("'requestId' must be 1 to 64 letters, digits, '.', '_' or '-'.", code="bad_body")
    spec = ExportSpec(
        dataset=kind,
        params=params,
        format=formats.canonical(name),
        options={"columns": columns} if columns else {},
        filename=f"{kind}-{{date}}-{{time}}",
    )
    return ExportRequest.of(spec, {name: body[name] for name in NATIVE if name in body}), wanted


def token_of(record: Record, links: Links) -> str:
    """The token of the file that the export has or will have."""
    return numbered_token(links.secret, record.id, record.result.link_issued_at or 0 if record.result else 0)


def expiry(record: Record) -> int:
    """When the token of the export's file expires (Unix seconds)."""
    return record.link_issued_at + TOKEN_S


def no_file(record: Record) -> Conflict | Gone:
    if record.status == "expired":
        return expired()
    return Conflict(f"This export is {STATUS_NAMES[record.status]}; it has no file.", code="not_ready")


def job_json(record: Record, token: str, *, consumed: bool) -> dict[str, Any]:
    """A job as this API shows it; times are milliseconds since 1970."""
    file = record.file
    return {
        "id": record.id,
        "type": record.spec.dataset,
        "format": record.spec.format,
        "status": STATUS_NAMES[record.status],
        "createdAt": _ms(record.created_at),
        "startedAt": _ms(record.started_at),
        "completedAt": _ms(record.finished_at),
        "error": record.error.message if record.error else None,
        "filename": record.result.filename if record.result else None,
        "downloadToken": token if file is not None or record.status in ACTIVE else None,
        "tokenExpiresAt": None if file is None else expiry(record) * 1000,
        "tokenConsumed": consumed,
        "requestId": record.request_id,
        "attemptCount": record.attempts,
        "rows": record.rows,
        "total": known_total(record, record.rows),
        "percent": percent(record),
    }


def _ms(moment: float | None) -> int | None:
    return None if moment is None else round(moment * 1000)


def measured(states: Mapping[str, int], counters: Iterable[Any]) -> dict[str, Any]:
    """Counts since the first export, of all APIs: the service's metrics under the Export queue's names."""
    sums: dict[str, float] = {}
    for name, _, value in counters:
        sums[name] = sums.get(name, 0.0) + value
    failed = int(sums.get("export_errors_total", 0))
    ended = int(sums.get("export_duration_seconds_bucket", 0))
    return {
        "queued": states.get("queued", 0),
        "running": states.get("running", 0),
        "processed": ended - failed,
        "failed": failed,
        "retried": int(sums.get("fluxport_retries_total", 0)),
        "avgDurationMs": round(1000 * sums.get("export_duration_seconds_sum", 0.0) / ended) if ended else 0,
    }
