"""The document of ``/openapi.json``: FastAPI's list of routes, each described by its entry in :data:`OPERATIONS`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from fluxport.formats import FORMATS
from fluxport.formats.compress import COMPRESSIONS
from fluxport.http.downloads import SESSION
from fluxport.http.events import EVENTS
from fluxport.http.openapi import older
from fluxport.http.openapi.base import Problem
from fluxport.http.openapi.operations import BINARY, OPERATIONS, TEXT, Access, Operation, Parameter, Reply
from fluxport.http.responses import queue_code
from fluxport.jobs.redemption import RESUME_S

REF = "#/components/schemas/"
JSON = "application/json"
PROBLEM = "application/problem+json"

INTRODUCTION = """\
Every GET route also answers HEAD, with the same headers and no body; HEAD starts no export and redeems no link.

Every response has `X-Request-Id`: the one of the request if it sent one, else a new one. Responses to requests that \
may succeed later have `Retry-After`.
"""

TAGS = {
    "exports": "Direct streams and stored exports.",
    "downloads": "Links to stored files, and the files.",
    "datasets": "Datasets, connections, and a preview of the first rows.",
    "history": "Schedules and the audit.",
    "sensors": "Sensors and their points.",
    "session": "Signing in and out, for the pages.",
    "operations": "Health and metrics, for operators and monitoring.",
    "FluxQuery": "The API of FluxQuery's clients.",
    "Export queue": "The API of the Export queue's clients.",
    "Historian": "The API of the Historian's dashboards.",
}

SCHEMES: dict[str, Any] = {
    "key": {"type": "http", "scheme": "bearer", "description": "a key from `fluxport keys create`"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "fluxport",
        "description": "the session of a signed-in user; over TLS the name is __Host-fluxport",
    },
    "signingKeyId": {"type": "apiKey", "in": "header", "name": "X-Key-Id", "description": "the key that signed"},
    "signingTimestamp": {"type": "apiKey", "in": "header", "name": "X-Timestamp", "description": "Unix seconds"},
    "signingNonce": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Nonce",
        "description": "16 to 64 characters, used once",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Signature",
        "description": "HMAC-SHA256 of the request, see docs/guide/signing.md",
    },
}
_CALLER: list[dict[str, list[str]]] = [
    {"key": []},
    {"session": []},
    {"signingKeyId": [], "signingTimestamp": [], "signingNonce": [], "signature": []},
]
# The configuration decides whether a reader needs credentials.
SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    "caller": _CALLER,
    "reader": [*_CALLER, {}],
    "link": [],
    "anyone": [],
}

HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Content-Disposition": ("the file's name, in ASCII and in UTF-8", {"type": "string"}),
    "X-Export-Id": ("the id for GET /v1/exports/{export_id}, which shows how the export ended", {"type": "string"}),
    "X-Export-Rows": ("rows of the file", {"type": "integer"}),
    "ETag": ("the SHA-256 in quotes", {"type": "string"}),
    "Repr-Digest": ("the SHA-256 in the syntax of RFC 9530", {"type": "string"}),
    "Content-Range": ("the range of bytes and the size of the file", {"type": "string"}),
    "Location": ("the address of the export", {"type": "string"}),
    "Retry-After": ("seconds to wait before the next request", {"type": "integer"}),
    "Set-Cookie": ("the session", {"type": "string"}),
    SESSION: (
        "by a one-time link: the session with which this client may ask for the file again, for "
        f"{RESUME_S / 60:g} minutes after its last download; browsers get it as a cookie",
        {"type": "string"},
    ),
}


class _Schemas(GenerateJsonSchema):
    """Omits the title of each property, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(routes: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The whole document; ``routes`` is FastAPI's own description."""
    with warnings.catch_warnings():
        # FastAPI lists GET and HEAD of a route as two operations with the same id.
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
        generated = routes()
    schemas, refs = _schemas()
    paths: dict[str, Any] = {}
    for path, methods in generated["paths"].items():
        paths[path] = {
            method: _operation(path, operation, refs) for method, operation in methods.items() if method != "head"
        }
    return {
        "openapi": generated["openapi"],
        "info": dict(generated["info"])
        | {"description": INTRODUCTION, "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SCHEMES},
    }


# -- schemas -----------------------------------------------------------------------------------------------------------


def _schemas() -> tuple[dict[str, Any], dict[type[BaseModel], dict[str, str]]]:
    """The schemas by name, and the reference to each model."""
    models = list(dict.fromkeys(_models()))
    refs, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=REF + "{model}", schema_generator=_Schemas
    )
    schemas = {name: _plain(schema) for name, schema in sorted(definitions["$defs"].items())}
    return schemas, {model: {"$ref": refs[model, "validation"]["$ref"]} for model in models}


def _models() -> Iterator[type[BaseModel]]:
    for operation in OPERATIONS.values():
        yield operation.error
        yield from (model for model in operation.body.values() if model is not None)
        for reply in operation.replies.values():
            yield from _of(reply)
            if reply.events is not None:
                yield reply.events


def _of(reply: Reply) -> Sequence[type[BaseModel]]:
    if reply.model is None:
        return ()
    return (reply.model,) if isinstance(reply.model, type) else tuple(reply.model)


def _plain(schema: Any) -> Any:
    """The schema without the titles of models, which repeat their names, and without defaults that are null or empty,
    which an omitted key has anyway."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        key: value if key == "examples" else _plain(value)
        for key, value in schema.items()
        if not (key == "default" and value in (None, {}, []))
    }
    if isinstance(plain.get("title"), str):
        del plain["title"]
    return plain


# -- operations --------------------------------------------------------------------------------------------------------


def _operation(path: str, route: Mapping[str, Any], refs: Mapping[type[BaseModel], dict[str, str]]) -> dict[str, Any]:
    """LookupError for a route without an entry in OPERATIONS."""
    described = OPERATIONS.get(route["operationId"])
    if described is None:
        raise LookupError(f"Describe {route['operationId']!r} in http/openapi/operations.py.")
    operation: dict[str, Any] = {key: route[key] for key in ("tags", "summary", "operationId")}
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", path)]
    parameters += map(_parameter, described.parameters)
    if parameters:
        operation["parameters"] = parameters
    if described.body:
        content = {kind: {"schema": refs[m] if m is not None else BINARY} for kind, m in described.body.items()}
        operation["requestBody"] = {"required": described.body_required, "content": content}
    responses = {str(status): _reply(reply, refs) for status, reply in described.replies.items()}
    for status, names in described.codes.items():
        responses[str(status)] = _error(status, names, described, refs[described.error])
    operation["responses"] = dict(sorted(responses.items()))
    operation["security"] = SECURITY[described.access]
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    about = {
        "export_id": "the export's id",
        "sensor_id": "the sensor's id, which may contain slashes",
        "name": "its name",
    }
    return {"name": name, "in": "path", "required": True, "description": about[name], "schema": {"type": "string"}}


def _parameter(entry: Parameter) -> dict[str, Any]:
    described = {
        "name": entry.name,
        "in": entry.where,
        "description": entry.about,
        "schema": dict(entry.schema),
    }
    return described | ({"required": True} if entry.required else {})


def _reply(reply: Reply, refs: Mapping[type[BaseModel], dict[str, str]]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _sentence(reply.about)}
    content: dict[str, Any] = {}
    if reply.files:
        content = {kind: {"schema": BINARY} for kind in file_types()}
    content |= {kind: {"schema": dict(schema)} for kind, schema in reply.content.items()}
    if reply.events is not None:
        content[EVENTS] = {"schema": TEXT | {"contentMediaType": EVENTS, "contentSchema": refs[reply.events]}}
    models = [refs[model] for model in _of(reply)]
    if models:
        content[JSON] = {"schema": models[0] if len(models) == 1 else {"anyOf": models}}
    if content:
        response["content"] = content
    if reply.headers:
        response["headers"] = {name.removesuffix("?"): _header(name) for name in reply.headers}
    return response


def _header(name: str) -> dict[str, Any]:
    """The header as required, or as optional if ``name`` ends with a question mark."""
    about, schema = HEADERS[name.removesuffix("?")]
    return {"description": about, "schema": schema} | ({} if name.endswith("?") else {"required": True})


def _error(status: int, names: Sequence[str], operation: Operation, ref: dict[str, str]) -> dict[str, Any]:
    if operation.error is older.QueueError:
        names = list(dict.fromkeys(queue_code(name, status) for name in names))
    about = f"{HTTPStatus(status).phrase}: {', '.join(f'`{name}`' for name in names)}"
    more = operation.more and status != 401
    if more:
        about += ", or a code of the database or the store"
    response: dict[str, Any] = {"description": f"{about}.", "x-codes": list(names), "x-more-codes": more}
    response["content"] = {PROBLEM if operation.error is Problem else JSON: {"schema": ref}}
    retry = {"Retry-After": _header("Retry-After")} if status in (429, 503) else {}
    return response | ({"headers": retry} if retry else {})


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def file_types() -> list[str]:
    """The media types of all formats and compressions, without parameters."""
    types = [*(row.media_type for row in FORMATS.values()), *(row.media_type for row in COMPRESSIONS.values())]
    return list(dict.fromkeys(kind for kind in types if kind is not None))
