"""The service's description of its API, and whether responses conform to it.

:func:`watching` compares it with every response that httpx gets while a test runs: a response, a status, a media type,
an error code or a key that the description does not have fails that test.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from scripts import script

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

PROBLEM = "application/problem+json"


_BUILDING = threading.Lock()


def document() -> dict[str, Any]:
    """The content of ``/openapi.json``, built without listening or connecting to a database."""
    with _BUILDING:  # a test may have many clients, and FastAPI's routes cannot be built in two threads at a time
        return _document()


@cache
def _document() -> dict[str, Any]:
    found: dict[str, Any] = script("docs/generate.py").openapi()
    return found


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method in capitals and description of each operation."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


@cache
def _patterns() -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    """Patterns of the paths of each operation; a sensor's id may contain slashes."""
    made = []
    for path, method, operation in operations():
        parts = re.split(r"({\w+})", path)
        words = {"{sensor_id}": ".+"}
        pattern = "".join(words.get(p, "[^/]+") if p.startswith("{") else re.escape(p) for p in parts)
        made.append((re.compile(pattern), method, operation))
    return made


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation of a request, None if no operation is described for its path or method."""
    wanted = "GET" if method == "HEAD" else method
    found = [o for pattern, taken, o in _patterns() if taken == wanted and pattern.fullmatch(path)]
    return found[0] if found else None


@cache
def _closed() -> dict[str, Any]:
    """The schemas, each object without keys beside those that are described: what the document leaves to later versions
    is a mistake today."""

    def closed(schema: Any) -> Any:
        if isinstance(schema, list):
            return [closed(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        made = {key: closed(value) for key, value in schema.items()}
        return {"additionalProperties": False} | made if "properties" in schema else made

    found: dict[str, Any] = closed(document()["components"]["schemas"])
    return found


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema of the document, strictly."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator({**schema, "components": {"schemas": _closed()}})


@cache
def _validator(schema: str) -> Draft202012Validator:
    return validator(json.loads(schema))


def complain(schema: dict[str, Any], body: Any) -> list[str]:
    """AssertionError with what is wrong with ``body``."""
    errors = _validator(json.dumps(schema)).iter_errors(body)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def check(answer: httpx.Response, *, streamed: bool = False) -> None:
    """AssertionError if the response is not as described; the body of a ``streamed`` one is not checked."""
    request, status = answer.request, answer.status_code
    if "x-request-id" not in answer.headers or status == 405:
        return  # not from the service, or what the server itself refuses
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    operation = operation_of(request.method, request.url.path)
    where = f"{request.method} {request.url.path} answered {status} {media_type}"
    if operation is None:
        return
    described = operation["responses"].get(str(status))
    assert described is not None, f"{where}: that status is not described"
    if request.method == "HEAD":
        return
    for name, header in described.get("headers", {}).items():
        assert not header.get("required") or name in answer.headers, f"{where} without {name}"
    if streamed:
        return
    content = described.get("content", {})
    if not content:
        assert answer.content == b"", f"{where}, of which no body is described"
        return
    assert media_type in content, f"{where}: that media type is not described"
    if media_type not in ("application/json", PROBLEM) or content[media_type]["schema"].get("format") == "binary":
        return
    body = answer.json()
    assert complain(content[media_type]["schema"], body) == [], f"{where}: {body}"
    if status < 400 or "x-codes" not in described:
        return
    code = body["error"]["code"] if isinstance(body.get("error"), dict) else body["code"]
    if not described["x-more-codes"]:
        assert code in described["x-codes"], f"{where}: the code {code!r} is not described"


@contextmanager
def watching() -> Iterator[None]:
    """Check every response that an httpx client gets."""
    send = httpx.Client.send

    def checked(client: httpx.Client, request: httpx.Request, **given: Any) -> httpx.Response:
        answer = send(client, request, **given)
        check(answer, streamed=bool(given.get("stream")))
        return answer

    patch = pytest.MonkeyPatch()
    patch.setattr(httpx.Client, "send", checked)
    try:
        yield
    finally:
        patch.undo()
