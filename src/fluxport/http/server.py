"""All HTTP APIs as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from fluxport.auth.proxies import Proxies
from fluxport.auth.signin import SignIn
from fluxport.errors import FluxportError
from fluxport.http import datasets, downloads, fluxquery, formats, history, native, operations, queue, session
from fluxport.http.bridge import DirectStreams
from fluxport.http.callers import Callers
from fluxport.http.files import Files
from fluxport.http.forwarded import Origins
from fluxport.http.historian import HistorianOptions
from fluxport.http.historian import router as historian_router
from fluxport.http.responses import RequestIds, crash_response, failure_response, http_response, parameter_response
from fluxport.jobs.exports import Exports
from fluxport.jobs.links import Links
from fluxport.jobs.preview import preview
from fluxport.jobs.schedule import Schedule
from fluxport.version import __version__

# A thread is busy only while it produces a chunk, so these keep all cores busy, however many clients there are.
STREAM_THREADS = 64


def build(  # noqa: PLR0913  everything that the routers need
    exports: Exports,
    callers: Callers,
    links: Links,
    sign_in: SignIn,
    *,
    compression: str,
    export_queue: queue.QueueOptions,
    historian: HistorianOptions,
    send_timeout_s: float,
    schedules: Mapping[str, Schedule],
    ready: Callable[[], dict[str, bool]],
    metrics_for: session.Audience,
    details_for: session.Audience,
    proxies: Proxies,
    cors: Sequence[str] = (),
) -> FastAPI:
    """``ready`` probes the dependencies of the service and returns by name whether each is usable. Scripts of pages of
    the origins ``cors`` may call it, without cookies."""
    app = FastAPI(
        title="Fluxport",
        version=__version__,
        summary="Query results as complete files.",
        openapi_url=None,  # operations.py serves it
        docs_url=None,
        redoc_url=None,
    )
    app.openapi = _described(app.openapi)  # type: ignore[method-assign]  # as FastAPI documents it
    threads = ThreadPoolExecutor(STREAM_THREADS, thread_name_prefix="fluxport-stream")
    catalog, store, transfers, submitter = exports.catalog, exports.store, exports.transfers, exports.submitter
    files = Files(catalog.sinks, exports.streams.spool, threads, send_timeout_s)
    sent = downloads.Downloads(store, transfers, files, callers.cookies)
    streams = DirectStreams(exports.streams, threads, send_timeout_s)
    shown = partial(preview, catalog=catalog, slots=exports.streams.slots, store=store, transfers=transfers)
    app.include_router(native.router(store, submitter, transfers, exports.watch, streams, callers, links))
    app.include_router(downloads.router(callers, links, sent))
    app.include_router(fluxquery.router(store, submitter, callers, links, compression=compression))
    app.include_router(formats.router(callers))
    app.include_router(datasets.router(catalog, shown, callers, threads=threads))
    app.include_router(queue.router(store, submitter, exports.watch, callers, links, export_queue, sent, streams))
    app.include_router(history.router(store, callers, schedules))
    app.include_router(historian_router(catalog, streams, callers, historian))
    app.include_router(session.router(callers, sign_in))
    app.include_router(
        operations.router(ready, store.measured, app.openapi, metrics_for=metrics_for, details_for=details_for)
    )
    app.add_exception_handler(FluxportError, failure_response)
    app.add_exception_handler(HTTPException, http_response)
    app.add_exception_handler(RequestValidationError, parameter_response)
    app.add_exception_handler(Exception, crash_response)
    app.add_middleware(RequestIds)
    if cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
            allow_headers=("*",),
            expose_headers=("*",),
        )
    app.add_middleware(Origins, proxies=proxies)
    return app


def _described(routes: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document, generated when it is first requested."""

    @cache
    def described() -> dict[str, Any]:
        from fluxport.http.openapi.document import document

        return document(routes)

    return described
