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
from fluxport.http.bridge import disconnect
from fluxport.http.callers import Callers, address_of
from fluxport.http.files import Files, file_of
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.jobs.links import Links
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.transfers import Transfers
from fluxport.strict_json import read_json


def router(store: JobStore, transfers: Transfers, callers: Callers, links: Links, files: Files) -> Router:
    routes = Router(prefix="/v1", tags=["downloads"])

    @routes.post(
        "/exports/{export_id}/links", status_code=201, operation_id="create_link", summary="A new download link"
    )
    async def link(request: Request, export_id: str) -> Response:
        caller, body = await callers.verified(request)
        options = read_json(body) if body else {}
        if (
            not isinstance(options, dict)
            or set(options) - {"one_time"}
            or not isinstance(options.get("one_time", False), bool)
        ):
            raise Refused('The body is empty or {"one_time": true}.', code="bad_body")
        record = await run_in_threadpool(store.get, export_id, caller)
        new_link = links.make(record, str(request.base_url), store.clock(), one_time=options.get("one_time", False))
        if new_link is None:
            file_of(record)  # raises why there is no file
        return JSONResponse(new_link, 201, NO_STORE)

    async def checked(export_id: str, token: str) -> tuple[Record, str]:
        """The export that ``token`` is for, and the token's purpose; Gone for a one-time token that has been used."""
        try:
            record = await run_in_threadpool(store.get, export_id)
        except NotFound:
            # Callers without a valid link must not learn which exports exist.
            check_download_token(links.secret, token, export_id, "", store.clock())
            raise
        name = record.result.filename if record.result else ""
        purpose = check_download_token(links.secret, token, record.id, name, store.clock())
        if purpose == "once" and await run_in_threadpool(store.link_used, _digest(token)):
            raise Gone("This download link has been used; request a new one.", code="link_used")
        return record, purpose

    def sending(request: Request, record: Record, purpose: str, token: str) -> Response:
        once = _digest(token) if purpose == "once" else None
        response = files.response(record, request)
        return watched(response, store, transfers, record, address_of(request), once=once)

    @routes.get(
        "/exports/{export_id}/file", operation_id="download_file", summary="The file, for holders of a link to it"
    )
    async def file(request: Request, export_id: str, token: str = "") -> Response:
        record, purpose = await checked(export_id, token)
        response = sending(request, record, purpose, token)
        if purpose == "once" and wants_page(request):
            return redeem.page(file_of(record))
        return response

    @routes.post(
        "/exports/{export_id}/file",
        operation_id="redeem_link",
        summary="The file; redeems a one-time link that was opened in a browser",
    )
    async def redeemed(request: Request, export_id: str, token: str = "") -> Response:
        record, purpose = await checked(export_id, token)
        return sending(request, record, purpose, token)

    return routes


def wants_page(request: Request) -> bool:
    """Whether the request comes from a browser, or from a program that acts as one: a mail scanner that opens links."""
    return "text/html" in request.headers.get("accept", "").lower()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Sending:
    """A response in progress: its range and length, and how many bytes were sent to a connected client."""

    def __init__(self, method: str, start: Message) -> None:
        headers = dict(start["headers"])
        length = headers.get(b"content-length")
        self.range: str | None = headers.get(b"content-range", b"").decode().removeprefix("bytes ") or None
        self.length = None if length is None else int(length)  # of the body, if known in advance
        self.bytes = 0
        self.whole = False  # whether the whole body was sent
        self._status = start["status"]
        self.counts = method in ("GET", "POST") and self._status in (200, 206)

    def count(self, message: Message) -> None:
        self.bytes += len(message.get("body", b""))
        self.whole = self.bytes >= self.length if self.length is not None else not message.get("more_body")

    @property
    def fetched(self) -> bool:
        """Whether the file's last byte was sent: the whole file, or a range that reaches its end."""
        if not self.whole or self._status == 200:
            return self.whole
        match = re.fullmatch(r"\d+-(\d+)/(\d+)", self.range or "")
        return match is not None and int(match[1]) + 1 == int(match[2])


Note: TypeAlias = Callable[[Sending], object]


class Watched(Response):
    """A response that carries a file. ``begun`` is called before the first byte is sent and may refuse the response by
    raising; ``ended`` is called when no more bytes will be sent, for whatever reason."""

    def __init__(self, response: Response, begun: Note, ended: Note) -> None:
        super().__init__()
        self._response = response
        self._begun = begun
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnected = asyncio.ensure_future(disconnect(receive))
        current: Sending | None = None

        async def sending(message: Message) -> None:
            nonlocal current
            if message["type"] == "http.response.start":
                starting = Sending(scope["method"], message)
                if starting.counts:
                    await run_in_threadpool(self._begun, starting)
                    current = starting
            await send(message)
            # send() waits until it can write, and silently drops data for a client that has disconnected meanwhile;
            # only http.disconnect reports that. Check after each message with data, not after the empty last one: by
            # then a fast client that has received everything may have disconnected.
            if (
                current is not None
                and message["type"] == "http.response.body"
                and not current.whole
                and not disconnected.done()
            ):
                current.count(message)

        try:
            await self._response(scope, receive, sending)
        except Canceled:
            if current is None or not current.whole:
                raise
        finally:
            disconnected.cancel()
            if current is not None:
                # Shielded: the audit records the bytes that were sent even if the request is cancelled.
                await asyncio.shield(run_in_threadpool(self._ended, current))


def watched(
    response: Response, store: JobStore, transfers: Transfers, record: Record, address: str, *, once: str | None = None
) -> Watched:
    """The response with two audit entries: one before the first byte, one at the end with the bytes that were sent.

    ``once`` is the digest of a one-time token, which is marked as used when the file's last byte has been sent.
    """
    name = secrets.token_hex(8)  # links the two entries

    def begun(sending: Sending) -> None:
        store.note_download(record, "begun", address, transfer=name, range=sending.range, length=sending.length)

    def ended(sending: Sending) -> None:
        outcome = "sent" if sending.whole else "broken_off"
        about = {"transfer": name, "range": sending.range, "length": sending.length, "sent_bytes": sending.bytes}

        def recorded() -> None:
            if once is not None and sending.fetched:
                store.use_link(once, record.id, record.expires_at or store.clock())
            store.note_download(record, outcome, address, **about)

        transfers.record("a download", recorded)

    return Watched(response, begun, ended)
