"""Datasets, connections and the preview of an export: ``/v1/datasets``, ``/v1/connections`` and ``/v1/preview``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from fluxport.auth.caller import Caller
from fluxport.auth.scopes import allows
from fluxport.errors import NotFound
from fluxport.http.callers import Callers
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.jobs.catalog import Catalog
from fluxport.preview import Preview
from fluxport.sources import scheme_of
from fluxport.spec import ExportSpec
from fluxport.strict_json import read_json


def router(
    catalog: Catalog, preview: Callable[[ExportSpec, Caller], Preview], callers: Callers, *, threads: Executor
) -> Router:
    routes = Router(prefix="/v1", tags=["datasets"])

    @routes.get(
        "/datasets",
        operation_id="list_datasets",
        summary="The datasets that you may export, with their columns and filters",
    )
    async def datasets(request: Request) -> Response:
        caller, _ = await callers.verified(request)
        data = [d.describe() for name, d in catalog.datasets.items() if allows(caller.scopes, f"dataset:{name}")]
        return JSONResponse({"data": data}, headers=NO_STORE)

    @routes.get(
        "/datasets/{name}", operation_id="get_dataset", summary="One dataset: columns and filters with their types"
    )
    async def dataset(request: Request, name: str) -> Response:
        caller, _ = await callers.verified(request)
        declared = catalog.datasets.get(name)
        if declared is None or not allows(caller.scopes, f"dataset:{name}"):
            raise NotFound("There is no such dataset.", code="no_such_dataset")
        return JSONResponse(declared.describe(), headers=NO_STORE)

    @routes.get(
        "/connections",
        operation_id="list_connections",
        summary="The connections that you may query, with the kind of their database",
    )
    async def connections(request: Request) -> Response:
        caller, _ = await callers.verified(request)
        data = [
            {"name": name, "kind": scheme_of(connection.url)}
            for name, connection in catalog.connections.items()
            if connection.guard is not None and allows(caller.scopes, f"sql:{name}")
        ]
        return JSONResponse({"data": data}, headers=NO_STORE)

    @routes.post("/preview", operation_id="preview_export", summary="The first 50 rows of an export as JSON")
    async def previewed(request: Request) -> Response:
        caller, body = await callers.verified(request)
        spec = ExportSpec.from_json(read_json(body))
        # A query may take a long time, so it must not occupy the few threads that every other request needs.
        shown = await asyncio.get_running_loop().run_in_executor(threads, preview, spec, caller)
        columns = json.dumps([{"name": name, "type": kind, "key": key} for name, kind, key in shown.columns])
        text = f'{{"columns": {columns}, "truncated": {json.dumps(shown.truncated)}, "rows": {shown.rows}}}'
        return Response(text, headers=NO_STORE, media_type="application/json")

    return routes
