"""How many bytes of a file count as sent, when it counts as sent whole (its last byte was sent while the client was
connected, whatever it did afterwards), and when nothing was sent at all."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from fluxport.errors import Canceled, Unavailable
from fluxport.http.downloads import Sending, Watched

BODY = b"id,name\n1,a\n"
PLAIN = {"content-length": str(len(BODY))}


class Answer(Response):
    """The body in two messages, then the empty last one, which a stored file omits if the client has disconnected."""

    def __init__(self, status: int, headers: dict[str, str], left: asyncio.Event | None) -> None:
        super().__init__()
        self._start = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._status = status
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._start})
        for body in (BODY[:5], BODY[5:]):
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(0.01)  # the next chunk is read, and what the client does becomes known
            if self._left is not None and self._left.is_set():
                raise Canceled("The client disconnected before the end.")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def sent(
    leaves_after: int,
    *,
    headers: dict[str, str] = PLAIN,
    status: int = 200,
    method: str = "GET",
    stops: bool = False,
    waits: bool = False,
) -> Sending | None:
    """What a client received that disconnects after ``taken`` messages; with ``waits`` it reads no more, and
    disconnects while the server waits to write the next one, which the server then drops."""
    noted: list[Sending] = []

    async def run() -> None:
        left, had = asyncio.Event(), 0

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal had
            if waits and had == leaves_after:
                asyncio.get_running_loop().call_later(0.01, left.set)
                await left.wait()
            if left.is_set():
                return
            had += 1
            if had == leaves_after and not waits:
                asyncio.get_running_loop().call_soon(left.set)

        scope: dict[str, Any] = {"type": "http", "method": method}
        answer = Answer(status, headers, left if stops else None)
        with suppress(Canceled):
            await Watched(answer, noted.append, noted.append)(scope, receive, send)

    asyncio.run(run())
    assert not noted or (len(noted) == 2 and noted[0] is noted[1])
    return noted[0] if noted else None


def whole(leaves_after: int, **how: Any) -> bool:
    found = sent(leaves_after, **how)
    return found is not None and found.started and found.whole


@pytest.mark.parametrize("stops", [False, True], ids=["sent on", "ended"])
@pytest.mark.parametrize(("leaves_after", "is_whole"), [(0, True), (4, True), (3, True), (2, False), (1, False)])
def test_a_client_that_has_all_bytes_may_leave(leaves_after: int, is_whole: bool, stops: bool) -> None:
    assert whole(leaves_after, stops=stops) is is_whole


@pytest.mark.parametrize("stops", [False, True], ids=["sent on", "ended"])
@pytest.mark.parametrize(("taken", "is_whole"), [(3, True), (2, False), (1, False)])
def test_bytes_buffered_for_a_client_that_leaves_are_not_sent(taken: int, is_whole: bool, stops: bool) -> None:
    assert whole(taken, waits=True, stops=stops) is is_whole


def test_a_body_of_unknown_length_ends_with_its_last_message() -> None:
    assert whole(4, headers={})
    assert not whole(3, headers={})


@pytest.mark.parametrize(("leaves_after", "count"), [(0, 12), (3, 12), (2, 5), (1, 5)])
def test_only_bytes_that_left_to_a_client_that_was_there_are_counted(leaves_after: int, count: int) -> None:
    found = sent(leaves_after)
    assert found is not None
    assert (found.bytes, found.length, found.whole) == (count, len(BODY), count == len(BODY))


def test_what_carries_no_byte_of_a_file_is_not_recorded() -> None:
    assert sent(0, method="HEAD") is None
    assert sent(0, status=304) is None
    assert sent(0, status=416, headers=PLAIN | {"content-range": f"bytes */{len(BODY)}"}) is None


def test_a_download_that_cannot_be_recorded_sends_nothing() -> None:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    def begun(sending: Sending) -> None:
        raise Unavailable("the database is away")

    ended: list[Sending] = []
    with pytest.raises(Unavailable):
        asyncio.run(
            Watched(Answer(200, PLAIN, None), begun, ended.append)({"type": "http", "method": "GET"}, receive, send)
        )
    assert not messages
    assert not ended


def test_a_client_that_left_before_the_status_was_sent_gets_nothing_and_the_end_tells_so() -> None:
    messages: list[Message] = []
    ended: list[Sending] = []

    async def run() -> None:
        left, loop = asyncio.Event(), asyncio.get_running_loop()

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            messages.append(message)

        def begun(sending: Sending) -> None:
            """The client leaves while the beginning is recorded."""
            asyncio.run_coroutine_threadsafe(leave(), loop).result()

        async def leave() -> None:
            left.set()
            await asyncio.sleep(0.01)  # the server's other task sees it

        answer = Watched(Answer(200, PLAIN, None), begun, ended.append, {"X-Session": "s"})
        with suppress(Canceled):
            await answer({"type": "http", "method": "GET"}, receive, send)

    asyncio.run(run())
    assert not messages
    assert [(sending.started, sending.bytes) for sending in ended] == [(False, 0)]


@pytest.mark.parametrize(("status", "method", "added"), [(200, "GET", True), (416, "GET", False), (200, "HEAD", False)])
def test_headers_for_one_client_are_sent_with_bytes_of_the_file_only(status: int, method: str, added: bool) -> None:
    starts: list[Message] = []

    async def send(message: Message) -> None:
        starts.extend([message] if message["type"] == "http.response.start" else [])

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    def noted(sending: Sending) -> None:
        pass

    answer = Watched(Answer(status, PLAIN, None), noted, noted, {"X-Session": "s"})
    asyncio.run(answer({"type": "http", "method": method}, receive, send))
    assert [(b"x-session", b"s") in start["headers"] for start in starts] == [added]


def test_a_request_that_is_cancelled_while_its_beginning_is_recorded_is_recorded_as_ended() -> None:
    """As a service that ends does it: the thread cannot be stopped, and the link that it redeems must be given back."""
    recording, recorded = threading.Event(), threading.Event()
    ended: list[Sending] = []

    def begun(sending: Sending) -> None:
        recording.set()
        assert recorded.wait(30)

    async def send(message: Message) -> None:
        raise AssertionError

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def run() -> None:
        scope = {"type": "http", "method": "GET"}
        request = asyncio.ensure_future(Watched(Answer(200, PLAIN, None), begun, ended.append)(scope, receive, send))
        await asyncio.to_thread(recording.wait, 30)
        request.cancel()
        await asyncio.sleep(0)
        recorded.set()
        with suppress(asyncio.CancelledError):
            await request

    asyncio.run(run())
    assert [(sending.started, sending.bytes) for sending in ended] == [(False, 0)]
