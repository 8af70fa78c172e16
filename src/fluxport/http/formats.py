"""``/v1/formats``: the tables of formats and compressions."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport.errors import NotFound
from fluxport.formats import FORMATS, options_class
from fluxport.formats.compress import COMPRESSIONS
from fluxport.formats.options import json_schema
from fluxport.http.callers import Callers
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router


def router(callers: Callers) -> Router:
    routes = Router(prefix="/v1", tags=["exports"])

    @routes.get("/formats", operation_id="list_formats", summary="The formats and the compressions")
    async def formats(request: Request) -> Response:
        await callers.verified(request)
        return JSONResponse(await run_in_threadpool(_tables), headers=NO_STORE)

    @routes.get(
        "/formats/{name}", operation_id="get_format", summary="One format with its options, each as JSON Schema"
    )
    async def format_(request: Request, name: str) -> Response:
        await callers.verified(request)
        return JSONResponse(await run_in_threadpool(_with_options, name), headers=NO_STORE)

    return routes


def _tables() -> dict[str, Any]:
    """The rows of both tables. It imports no built-in format, which would take as much memory as an export."""
    return {
        "data": [_described(name) for name in FORMATS],
        "compressions": [
            {"name": name, "label": entry.label, "aliases": entry.aliases, "suffix": entry.suffix}
            for name, entry in COMPRESSIONS.items()
        ],
    }


def _described(name: str) -> dict[str, Any]:
    entry = FORMATS[name]
    return {
        "name": name,
        "label": entry.label,
        "aliases": entry.aliases,
        "suffixes": entry.suffixes,
        "media_type": entry.media_type,
        "packed": entry.packed,
        "delimited": entry.delimited,
        "sheets": entry.sheets,
        "package": FORMATS.package(name) or None,
    }


def _with_options(name: str) -> dict[str, Any]:
    canonical = FORMATS.find(name)
    if canonical is None:
        raise NotFound("There is no such format.", code="no_such_format")
    options = options_class(canonical)
    return _described(canonical) | {
        "options": {field.name: json_schema(options, field) for field in dataclasses.fields(options)}
    }
