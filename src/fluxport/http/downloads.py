"""Download links and the files behind them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from fluxport.auth.tokens import ONCE, check_download_token, token_digest
from fluxport.errors import Canceled, NotFound, Refused, Unavailable
from fluxport.http import redeem
from fluxport.http.bridge import disconnect
from fluxport.http.callers import Callers, address_of
from fluxport.http.cookies import Cookies
from fluxport.http.files import Files, file_of
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.jobs.links import Links
from fluxport.jobs.redemption import Redemption
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.transfers import Transfers
from fluxport.strict_json import read_json

SESSION = "X-Download-Session"


@dataclass(frozen=True)
class Downloads:
    """What routes with files share."""

    store: JobStore
    transfers: Transfers
    files: Files
    cookies: Cookies

    async def redemption(self, request: Request, token: str) -> Redemption:
        """The download by a valid one-time token; Gone if the link has been used, unless by this client. The client
        proves that by its session, in a header or a cookie."""
        digest = token_digest(token)
        session = request.headers.get(SESSION) or self.cookies.download(request, digest)
        first = await run_in_threadpool(self.store.check_open, digest, session)
        if first or session is None:
            session = secrets.token_urlsafe(24)
        return Redemption(digest, session, first)

    def response(self, request: Request, record: Record, redemption: Redemption | None) -> Response:
        """The export's file, or the requested range of it; ``redemption`` if it is by a one-time link."""
        headers: dict[str, str] = {}
        if redemption is not None:
            cookie = self.cookies.of_download(request, redemption.token_sha256, redemption.session)
            headers = {SESSION: redemption.session, "Set-Cookie": cookie}
        response = self.files.response(record, request)
        return watched(response, self.store, self.transfers, record, address_of(request), redemption, headers)


def router(callers: Callers, links: Links, downloads: Downloads) -> Router:
    routes = Router(prefix="/v1", tags=["downloads"])
    store = downloads.store

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

    async def checked(request: Request, export_id: str, token: str) -> tuple[Record, Redemption | None]:
        """The export that ``token`` is for, and its redemption if it is for one time."""
        try:
            record = await run_in_threadpool(store.get, export_id)
        except NotFound:
            # Callers without a valid link must not learn which exports exist.
            check_download_token(links.secret, token, export_id, "", store.clock())
            raise
        name = record.result.filename if record.result else ""
        purpose = check_download_token(links.secret, token, record.id, name, store.clock())
        return record, await downloads.redemption(request, token) if purpose == ONCE else None

    @routes.get(
        "/exports/{export_id}/file", operation_id="download_file", summary="The file, for holders of a link to it"
    )
    async def file(request: Request, export_id: str, token: str = "") -> Response:
        record, redemption = await checked(request, export_id, token)
        response = downloads.response(request, record, redemption)
        if redemption is not None and wants_page(request):
            return redeem.page(file_of(record))
        return response

    @routes.post(
        "/exports/{export_id}/file",
        operation_id="redeem_link",
        summary="The file; redeems a one-time link that was opened in a browser",
    )
    async def redeemed(request: Request, export_id: str, token: str = "") -> Response:
        record, redemption = await checked(request, export_id, token)
        return downloads.response(request, record, redemption)

    return routes


def wants_page(request: Request) -> bool:
    """Whether the request comes from a browser, or from a program that acts as one: a mail scanner that opens links."""
    return "text/html" in request.headers.get("accept", "").lower()


class Sending:
    """A response in progress: its range and length, and how many bytes were sent to a connected client. ``started``:
    its status was, so that the client may have anything that follows."""

    def __init__(self, method: str, start: Message) -> None:
        headers = dict(start["headers"])
        length = headers.get(b"content-length")
        self.range: str | None = headers.get(b"content-range", b"").decode().removeprefix("bytes ") or None
        self.length = None if length is None else int(length)  # of the body, if known in advance
        self.bytes = 0
        self.started = False
        self.whole = False  # whether the whole body was sent
        self.counts = method in ("GET", "POST") and start["status"] in (200, 206)

    def count(self, message: Message) -> None:
        self.bytes += len(message.get("body", b""))
        self.whole = self.bytes >= self.length if self.length is not None else not message.get("more_body")


Note: TypeAlias = Callable[[Sending], object]


class Watched(Response):
    """A response that carries a file. ``begun`` is called before the first byte is sent and may refuse the response by
    raising; ``ended`` is called when no more bytes will be sent, for whatever reason. ``headers`` are added to a
    response that has begun."""

    def __init__(
        self, response: Response, begun: Note, ended: Note, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__()
        self._response = response
        self._begun = begun
        self._ended = ended
        self._added = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnected = asyncio.ensure_future(disconnect(receive))
        current: Sending | None = None

        async def sending(message: Message) -> None:
            nonlocal current
            if message["type"] == "http.response.start":
                starting = Sending(scope["method"], message)
                if starting.counts:
                    beginning = asyncio.ensure_future(run_in_threadpool(self._begun, starting))
                    try:
                        await asyncio.shield(beginning)
                    except asyncio.CancelledError:  # what has begun must end, too
                        await asyncio.wait({beginning})
                        current = starting if beginning.exception() is None else None
                        raise
                    current = starting
                    if disconnected.done():
                        raise Canceled("The client disconnected before the first byte.", code="client_gone")
                    current.started = True
                    added = [(name.lower().encode(), value.encode()) for name, value in self._added.items()]
                    message = {**message, "headers": [*message["headers"], *added]}
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
    response: Response,
    store: JobStore,
    transfers: Transfers,
    record: Record,
    address: str,
    redemption: Redemption | None,
    headers: Mapping[str, str],
) -> Watched:
    """The response with two audit entries: one before the first byte, one at the end with the bytes that were sent. A
    one-time link is redeemed with the first one."""
    name = secrets.token_hex(8)  # links the two entries

    def begun(sending: Sending) -> None:
        about = {"transfer": name, "range": sending.range, "length": sending.length}
        try:
            store.begin_download(record, address, redemption, **about)
        except Unavailable:
            # It may have been committed: only the database's answer may be missing.
            if redemption is not None:
                transfers.record_later("a link that is given back", lambda: store.give_back(redemption))
            raise

    def ended(sending: Sending) -> None:
        outcome = "sent" if sending.whole else "broken_off"
        about = {"transfer": name, "range": sending.range, "length": sending.length, "sent_bytes": sending.bytes}

        def recorded() -> None:
            store.end_download(record, outcome, address, redemption, sent=sending.started, **about)

        transfers.record("a download", recorded)

    return Watched(response, begun, ended, headers)
