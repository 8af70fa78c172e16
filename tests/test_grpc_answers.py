"""How many responses a client of a push gets: its own metadata, its key, its network, the setting, in that order."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from fluxport.errors import Refused
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc.answers import AnswerRules, Answers
from fluxport.grpc.writer import ResponseWriter

RECORD: Any = SimpleNamespace(id="a-task")

RULES = AnswerRules("auto", {"old-shop": "final", "abcdefghijkl": "stream", "10.1.0.0/16": "final", "::1/128": "final"})


@pytest.mark.parametrize(
    ("sent", "key", "address", "chosen"),
    [
        ("", ("shop", "id"), "127.0.0.1", "auto"),
        ("", ("old-shop", "id"), "127.0.0.1", "final"),
        ("", ("shop", "abcdefghijkl"), "10.1.2.3", "stream"),
        ("", ("", ""), "10.1.2.3", "final"),
        ("", ("", ""), "10.2.2.3", "auto"),
        ("", ("", ""), "::1", "final"),
        ("", ("", ""), None, "auto"),
        ("stream", ("old-shop", "id"), "10.1.2.3", "stream"),
        ("auto", ("old-shop", "id"), "10.1.2.3", "auto"),
        ("final", ("shop", "abcdefghijkl"), "127.0.0.1", "final"),
    ],
)
def test_the_nearest_statement_decides(sent: str, key: tuple[str, str], address: str | None, chosen: Answers) -> None:
    assert RULES.choose(sent, key, None if address is None else ip_address(address)) == chosen


def test_another_word_is_refused() -> None:
    with pytest.raises(Refused, match="auto, final, stream"):
        RULES.choose("last", ("", ""), None)


class Wire:
    """In place of a call's context: a sending takes until ``open``, and none may begin while another is under way."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun = asyncio.Event()
        self.sent: list[str] = []
        self._busy = False

    async def send_initial_metadata(self, metadata: object) -> None:
        await self._send("headers")

    async def write(self, message: pb.ExportResponse) -> None:
        await self._send(pb.TaskStatus.Name(message.status))

    async def _send(self, what: str) -> None:
        assert not self._busy, "two sendings at once"
        self._busy = True
        self.begun.set()
        await self.open.wait()  # if it is canceled, it stays busy, as gRPC's does
        self._busy = False
        self.sent.append(what)


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        ("auto", ["headers", "TASK_STATUS_FAILED"]),
        ("final", ["headers"]),
        ("stream", ["TASK_STATUS_UPLOADING", "TASK_STATUS_FAILED"]),
    ],
)
def test_a_push_that_fails_while_its_receipt_is_confirmed_sends_one_after_the_other(
    answers: Answers, sent: list[str]
) -> None:
    async def call() -> list[str]:
        wire = Wire()
        responses = ResponseWriter(wire)
        responses.answers = answers
        responses.begin()
        responses.requests_ended()
        confirming = asyncio.ensure_future(responses.received(RECORD))
        await wire.begun.wait()
        confirming.cancel()
        failed = pb.ExportResponse(task_id=RECORD.id, status=pb.TASK_STATUS_FAILED)
        last = asyncio.ensure_future(responses.last(failed, failed=True))
        await asyncio.wait({confirming})
        wire.open.set()
        await last
        return wire.sent

    assert asyncio.run(call()) == sent
