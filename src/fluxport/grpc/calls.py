"""What every call shares: its errors as a status, its count and its line in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from fluxport.errors import FluxportError
from fluxport.grpc.callers import call_span
from fluxport.grpc.responses import status_of, trailers
from fluxport.pipeline import as_failure
from fluxport.telemetry import metrics, traces

log = logging.getLogger("fluxport.grpc")

Context = Any  # grpc.aio.ServicerContext, whose types do not know raw requests


async def _no_task(error: FluxportError) -> str:
    return ""


@contextlib.asynccontextmanager
async def translated(
    service: str, method: str, context: Context, failed: Callable[[FluxportError], Awaitable[str]] = _no_task
) -> AsyncIterator[traces.Span]:
    """Translate errors to a status, a code and a message; count, log and trace the call. ``failed`` is awaited before
    the status is sent, and returns the id of the call's task."""
    with call_span(service, method, context) as span:
        async with _answered(method, context, failed, span):
            yield span


@contextlib.asynccontextmanager
async def _answered(
    method: str, context: Context, failed: Callable[[FluxportError], Awaitable[str]], span: traces.Span
) -> AsyncIterator[None]:
    began = time.monotonic()
    status = grpc.StatusCode.OK
    try:
        yield
    except asyncio.CancelledError:
        status = grpc.StatusCode.CANCELLED
        raise
    except Exception as raised:  # the response reports any error
        if not isinstance(raised, FluxportError):
            log.exception("call failed")
        error = as_failure(raised)
        status = status_of(error)
        metrics.refusal(error.code)
        span.failed(error.code)
        await context.abort(status, error.message, trailers(error, await failed(error)))
    finally:
        metrics.call(method, status.name)
        span.set({"rpc.grpc.status_code": status.value[0]})
        fields = {"status": status.name, "duration_ms": round((time.monotonic() - began) * 1000, 1)}
        log.info("%s", method, extra=fields)
