"""What happens to an export, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from fluxport.jobs.exports import Exports
from fluxport.jobs.states import FINAL

EVENTS_EVERY_S = 0.2
COMMENT_EVERY_S = 15.0


async def event_lines(exports: Exports, export_id: str, seq: int) -> AsyncIterator[str]:
    """Events after ``seq`` as they come, to the last one; a comment now and then keeps proxies awake."""
    silent_s = 0.0
    while True:
        found = await run_in_threadpool(exports.store.events_after, export_id, seq)
        for event in found:
            seq = event.seq
            yield f"id: {event.seq}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
            if event.kind != "progress":
                return
        if not found:
            record = await run_in_threadpool(exports.store.get, export_id)
            if record.status in FINAL and not await run_in_threadpool(exports.store.events_after, export_id, seq):
                return
        silent_s = 0.0 if found else silent_s + EVENTS_EVERY_S
        if silent_s >= COMMENT_EVERY_S:
            silent_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(EVENTS_EVERY_S)
