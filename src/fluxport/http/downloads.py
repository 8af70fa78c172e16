"""Download links and the files behind them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from fluxport.auth.tokens import check_download_token
from fluxport.errors import Canceled, Gone, NotFound, Refused
from fluxport.http import redeem
from fluxport.http.answers import NO_STORE, parse_json
from fluxport.http.bridge import disconnect
from fluxport.http.callers import Callers
from fluxport.http.files import Files, file_of
from fluxport.jobs.exports import Exports
from fluxport.jobs.links import Links
from fluxport.jobs.store import Record, Store


def router(exports: Exports, callers: Callers, links: Links, files: Files) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["downloads"])
    store = exports.store

    @routes.post("/exports/{export_id}/links", status_code=201, summary="A new download link")
    async def link(request: Request, export_id: str) -> Response:
        caller, body = await callers.verified(request)
        asked = parse_json(body) if body else {}
        if (
            not isinstance(asked, dict)
            or set(asked) - {"one_time"}
            or not isinstance(asked.get("one_time", False), bool)
        ):
            raise Refused('The body is empty or {"one_time": true}.', code="bad_body")
        record = await run_in_threadpool(store.get, export_id, caller)
        made = links.make(record, str(request.base_url), store.clock(), one_time=asked.get("one_time", False))
        if made is None:
            file_of(record)
        return JSONResponse(made, 201, NO_STORE)

    async def found(export_id: str, token: str) -> tuple[Record, str]:
        """The export that ``token`` is for, and the token's purpose; Gone if it was for once and has been used."""
        try:
            record = await run_in_threadpool(store.get, export_id)
        except NotFound:
            # Whoever holds no link does not learn which exports there are.
            check_download_token(links.secret, token, export_id, "", store.clock())
            raise
        name = (record.result or {}).get("filename", "")
        purpose = check_download_token(links.secret, token, record.id, name, store.clock())
        if purpose == "once" and await run_in_threadpool(store.link_used, _digest(token)):
            raise Gone("This download link has been used; ask for a new one.", code="link_used")
        return record, purpose

    def sending(request: Request, record: Record, purpose: str, token: str) -> Response:
        answer = files.answer(record, request)
        address = request.client.host if request.client else ""
        sent: Callable[[], object] = partial(store.note_download, record, "sent", address)
        if purpose == "once":
            sent = partial(used_up, store, _digest(token), record, address)
        return AfterLastByte(answer, sent)

    @routes.head("/exports/{export_id}/file", include_in_schema=False)
    @routes.get("/exports/{export_id}/file", summary="The file, for whoever holds a link to it")
    async def file(request: Request, export_id: str, token: str = "") -> Response:
        record, purpose = await found(export_id, token)
        answer = sending(request, record, purpose, token)
        if purpose == "once" and wants_page(request):
            return redeem.page(record.result or {})
        return answer

    @routes.post("/exports/{export_id}/file", summary="The same; redeems a one-time link that a person opened")
    async def redeemed(request: Request, export_id: str, token: str = "") -> Response:
        record, purpose = await found(export_id, token)
        return sending(request, record, purpose, token)

    return routes


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, or something that passes for one: such as a mail scanner that opens links."""
    return "text/html" in request.headers.get("accept", "").lower()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def used_up(store: Store, digest: str, record: Record, address: str) -> None:
    """A one-time link has done its work."""
    store.use_link(digest, record.id, record.expires_at or store.clock())
    store.note_download(record, "sent", address)


class AfterLastByte(Response):
    """An answer after which something happens if the file's last byte has left to a client that was still there."""

    def __init__(self, answer: Response, then: Callable[[], object]) -> None:
        super().__init__()
        self._answer = answer
        self._then = then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(disconnect(receive))
        holds_last = reached = False
        left: int | None = None  # bytes of the body, where they are told beforehand

        async def sending(message: Message) -> None:
            nonlocal holds_last, reached, left
            await send(message)
            if message["type"] == "http.response.start":
                holds_last = scope["method"] in ("GET", "POST") and _holds_last_byte(message)
                told = dict(message["headers"]).get(b"content-length")
                left = None if told is None else int(told)
            elif not reached:
                left = None if left is None else left - len(message.get("body", b""))
                last = left <= 0 if left is not None else not message.get("more_body")
                # The server waits until it can write, drops what is meant for a client that has left meanwhile, and
                # says so only by its own message. That is looked at right behind the last byte: behind the empty
                # message that follows, a quick client that has everything may have left too.
                reached = last and not gone.done()

        try:
            await self._answer(scope, receive, sending)
        except Canceled:
            if not reached:
                raise
        finally:
            gone.cancel()
        if holds_last and reached:
            await run_in_threadpool(self._then)


def _holds_last_byte(start: Message) -> bool:
    """Whether an answer carries the end of the file: all of it, or a range to its end."""
    if start["status"] == 200:
        return True
    found = re.fullmatch(rb"bytes \d+-(\d+)/(\d+)", dict(start["headers"]).get(b"content-range", b""))
    return start["status"] == 206 and found is not None and int(found[1]) + 1 == int(found[2])
