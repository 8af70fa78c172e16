"""The events of an export, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from fluxport.errors import Unavailable
from fluxport.jobs.watch import News, Watch

COMMENT_EVERY_S = 15.0


async def event_lines(watch: Watch, export_id: str, seq: int) -> AsyncIterator[str]:
    """The events after ``seq`` as they occur, up to the last one; periodic comments prevent proxies from timing out.
    When the service shuts down the stream ends early, and the client continues elsewhere with ``Last-Event-ID``."""
    try:
        news = await run_in_threadpool(watch.now, export_id, seq)
    except Unavailable:
        news = News([], False)  # they follow once the database is reachable again
    while True:
        for event in news.events:
            seq = event.seq
            yield f"id: {event.seq}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
        if news.over:
            return
        next_news = asyncio.wrap_future(watch.after(export_id, seq))
        try:
            while not (await asyncio.wait({next_news}, timeout=COMMENT_EVERY_S))[0]:
                yield ": still here\n\n"
            news = next_news.result()
        except Unavailable:
            return
        finally:
            next_news.cancel()
