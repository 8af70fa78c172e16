"""Download links and the files behind them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable
from typing import TypeAlias

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from fluxport.auth.tokens import check_download_token
from fluxport.errors import Canceled, Gone, NotFound, Refused
from fluxport.http import redeem
from fluxport.http.answers import NO_STORE
from fluxport.http.bridge import disconnect
from fluxport.http.callers import Callers, address_of
from fluxport.http.files import Files, file_of
from fluxport.http.routing import Router
from fluxport.jobs.exports import Exports
from fluxport.jobs.links import Links
from fluxport.jobs.store import Record
from fluxport.strict_json import read_json


def router(exports: Exports, callers: Callers, links: Links, files: Files) -> Router:
    routes = Router(prefix="/v1", tags=["downloads"])
    store = exports.store

    @routes.post(
        "/exports/{export_id}/links", status_code=201, operation_id="create_link", summary="A new download link"
    )
    async def link(request: Request, export_id: str) -> Response:
        caller, body = await callers.verified(request)
        asked = read_json(body) if body else {}
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
        name = record.result.filename if record.result else ""
        purpose = check_download_token(links.secret, token, record.id, name, store.clock())
        if purpose == "once" and await run_in_threadpool(store.link_used, _digest(token)):
            raise Gone("This download link has been used; ask for a new one.", code="link_used")
        return record, purpose

    def sending(request: Request, record: Record, purpose: str, token: str) -> Response:
        once = _digest(token) if purpose == "once" else None
        return watched(files.answer(record, request), exports, record, address_of(request), once=once)

    @routes.get(
        "/exports/{export_id}/file", operation_id="download_file", summary="The file, for whoever holds a link to it"
    )
    async def file(request: Request, export_id: str, token: str = "") -> Response:
        record, purpose = await found(export_id, token)
        answer = sending(request, record, purpose, token)
        if purpose == "once" and wants_page(request):
            return redeem.page(file_of(record))
        return answer

    @routes.post(
        "/exports/{export_id}/file",
        operation_id="redeem_link",
        summary="The same; redeems a one-time link that a person opened",
    )
    async def redeemed(request: Request, export_id: str, token: str = "") -> Response:
        record, purpose = await found(export_id, token)
        return sending(request, record, purpose, token)

    return routes


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, or something that passes for one: such as a mail scanner that opens links."""
    return "text/html" in request.headers.get("accept", "").lower()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Sending:
    """An answer on its way: what it carries, and how many bytes of it have been sent to a client that was there."""

    def __init__(self, method: str, start: Message) -> None:
        headers = dict(start["headers"])
        length = headers.get(b"content-length")
        self.range: str | None = headers.get(b"content-range", b"").decode().removeprefix("bytes ") or None
        self.length = None if length is None else int(length)  # of the body, where it is known beforehand
        self.bytes = 0
        self.whole = False  # whether that is all of the body
        self._status = start["status"]
        self.counts = method in ("GET", "POST") and self._status in (200, 206)

    def took(self, message: Message) -> None:
        self.bytes += len(message.get("body", b""))
        self.whole = self.bytes >= self.length if self.length is not None else not message.get("more_body")

    @property
    def fetched(self) -> bool:
        """Whether the file's last byte is among them: of all of it, or of a range to its end."""
        if not self.whole or self._status == 200:
            return self.whole
        found = re.fullmatch(r"\d+-(\d+)/(\d+)", self.range or "")
        return found is not None and int(found[1]) + 1 == int(found[2])


Note: TypeAlias = Callable[[Sending], object]


class Watched(Response):
    """An answer that carries a file: ``begun`` is called before its first byte leaves, and may refuse it by an error,
    ``ended`` when no more will, however that came."""

    def __init__(self, answer: Response, begun: Note, ended: Note) -> None:
        super().__init__()
        self._answer = answer
        self._begun = begun
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(disconnect(receive))
        found: Sending | None = None

        async def sending(message: Message) -> None:
            nonlocal found
            if message["type"] == "http.response.start":
                starting = Sending(scope["method"], message)
                if starting.counts:
                    await run_in_threadpool(self._begun, starting)
                    found = starting
            await send(message)
            # The server waits until it can write, drops what is meant for a client that has left meanwhile, and says so
            # only by its own message. That is looked at right behind each piece: behind the empty message that follows
            # the last byte, a quick client that has everything may have left too.
            if found is not None and message["type"] == "http.response.body" and not found.whole and not gone.done():
                found.took(message)

        try:
            await self._answer(scope, receive, sending)
        except Canceled:
            if found is None or not found.whole:
                raise
        finally:
            gone.cancel()
            if found is not None:
                # Shielded: a request that is cancelled has sent what it has sent.
                await asyncio.shield(run_in_threadpool(self._ended, found))


def watched(answer: Response, exports: Exports, record: Record, address: str, *, once: str | None = None) -> Watched:
    """The answer with its lines in the audit: one before the first byte, one with the bytes that were sent.

    ``once`` is the digest of a token that is used up when the file's last byte has been sent.
    """
    store = exports.store
    name = secrets.token_hex(8)  # which beginning belongs to which end

    def begun(sending: Sending) -> None:
        store.note_download(record, "begun", address, transfer=name, range=sending.range, length=sending.length)

    def ended(sending: Sending) -> None:
        outcome = "sent" if sending.whole else "broken_off"
        about = {"transfer": name, "range": sending.range, "length": sending.length, "sent_bytes": sending.bytes}

        def recorded() -> None:
            if once is not None and sending.fetched:
                store.use_link(once, record.id, record.expires_at or store.clock())
            store.note_download(record, outcome, address, **about)

        exports.record("a download", recorded)

    return Watched(answer, begun, ended)
