"""What the responses of all HTTP APIs share: problems, file headers, request ids."""

from __future__ import annotations

import logging
import math
import re
import time
import uuid
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxport.errors import FluxportError
from fluxport.headers import content_disposition
from fluxport.telemetry import logs, metrics, traces

log = logging.getLogger("fluxport.http")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


# The error codes that clients of the Export queue know, by our code, else by status.
QUEUE_CODES = {
    "unknown_dataset": "INVALID_TYPE",
    "unknown_format": "INVALID_FORMAT",
    "link_used": "TOKEN_USED",
    "link_expired": "TOKEN_EXPIRED",
    "bad_token": "INVALID_TOKEN",
}
QUEUE_CODES_BY_STATUS = {401: "UNAUTHORIZED", 404: "NOT_FOUND", 429: "RATE_LIMIT", 501: "DISABLED"}


def queue_code(code: str, status: int) -> str:
    """The Export queue's code for one of our error codes."""
    return QUEUE_CODES.get(code) or QUEUE_CODES_BY_STATUS.get(status) or code.upper()


NO_STORE = {"Cache-Control": "no-store"}


def request_id(request: Request) -> str:
    value: str = request.scope.get("state", {}).get("request_id", "")
    return value


def traceparent(request: Request) -> str:
    """The request's place in its trace, or an empty string."""
    value: str = request.scope.get("state", {}).get("traceparent", "")
    return value


def problem(request: Request, status: int, code: str, detail: str, retry_after_s: float | None = None) -> Response:
    """An error as RFC 9457, or for FluxQuery and the Export queue in the form that their clients expect."""
    headers = {"Cache-Control": "no-store"}
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    elif status == 503:
        headers["Retry-After"] = "5"
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    path = request.url.path
    if path in ("/export", "/jobs"):
        return JSONResponse({"error": detail, "code": code}, status, headers)
    if path == "/api/health" or path.startswith("/api/exports/"):
        error = {"code": queue_code(code, status), "message": detail}
        return JSONResponse({"data": None, "error": error}, status, headers)
    title = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Client Closed Request"
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return JSONResponse(body | {"request_id": request_id(request)}, status, headers, "application/problem+json")


async def failure_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, FluxportError)
    metrics.refusal(error.code)
    return problem(request, error.status, error.code, error.message, error.retry_after_s)


async def parameter_response(request: Request, error: Exception) -> Response:
    """The response to a parameter of the query or the path with a wrong type; it names the parameter but does not
    repeat its value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    metrics.refusal("bad_parameter")
    return problem(request, 400, "bad_parameter", f"The parameter {name!r} is not valid: {_lower(first['msg'])}.")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


async def http_response(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    detail = {404: "There is nothing at this address.", 405: "This address does not support this method."}
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "http_error")
    response = problem(request, status, code, detail.get(status, str(getattr(error, "detail", "The request failed."))))
    response.headers.update(getattr(error, "headers", None) or {})  # for example Allow
    return response


async def crash_response(request: Request, error: Exception) -> Response:
    message = "The service failed with an internal error; see its log for this request's id."
    return problem(request, 500, "internal", message)


def file_headers(filename: str, media_type: str, job_id: str | None = None) -> dict[str, str]:
    """The headers of a file, and of the export ``job_id`` that it belongs to, if any."""
    return {
        "Content-Type": media_type,
        "Content-Disposition": content_disposition(filename),
        **({} if job_id is None else {"X-Export-Id": job_id}),
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


class RequestIds:
    """Pure ASGI middleware: gives each request an id, returns it, and counts and logs the request when it ends.

    It buffers nothing and catches no exception, so that a broken stream still breaks the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        received = headers.get(b"x-request-id", "")
        name = received if REQUEST_ID.fullmatch(received) else uuid.uuid4().hex
        parent = traces.accepted(headers.get(b"traceparent", ""))
        method = metrics.method_name(scope["method"])
        with traces.span(method, parent, {"http.request.method": method}, kind="server") as span:
            scope.setdefault("state", {}).update(request_id=name, traceparent=span.traceparent)
            logs.bind(logs.Ids(request_id=name, trace_id=traces.trace_id(span.traceparent)))
            await self._observed(scope, receive, send, name, span)

    async def _observed(self, scope: Scope, receive: Receive, send: Send, name: str, span: traces.Span) -> None:
        began = time.monotonic()
        status = 500  # what the server sends if the application sends nothing

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = name
            await send(message)

        try:
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # no valid value has one
                detail = "An address or parameter cannot contain a NUL character (%00)."
                await problem(Request(scope), 400, "bad_parameter", detail)(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", None)
            metrics.request(scope["method"], route, status)
            span.set({"http.response.status_code": status})
            if route is not None:
                span.rename(f"{metrics.method_name(scope['method'])} {route}")
                span.set({"http.route": route})
            if status >= 500:
                span.failed(str(status))
            fields = {"status": status, "duration_ms": round((time.monotonic() - began) * 1000, 1)}
            log.info("%s %s", scope["method"], scope["path"], extra=fields)
