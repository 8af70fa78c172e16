"""How much of a push is in memory between its connection and the thread that encodes it."""

from __future__ import annotations

import asyncio

from fluxport.grpc.handover import Handover


def test_the_next_message_is_not_read_while_a_mebibyte_is_queued() -> None:
    async def queued() -> None:
        handover = Handover()
        await handover.put(b"x" * ((1 << 20) - 1))
        putting = asyncio.ensure_future(handover.put(b"y"))
        assert not (await asyncio.wait({putting}, timeout=0))[0]
        assert handover.take() == b"x" * ((1 << 20) - 1)
        await putting
        assert handover.take() == b"y"

    asyncio.run(queued())
