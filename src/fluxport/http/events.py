"""The events of an export, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import HeadersOnly, is_head
from fluxport.jobs.store import Event
from fluxport.jobs.watch import News, Watch

EVENTS = "text/event-stream"
COMMENT_EVERY_S = 15.0

# What an API shows in place of the last event; called in a thread.
Last = Callable[[Event], Event]


async def events_response(request: Request, watch: Watch, export_id: str, last: Last = lambda event: event) -> Response:
    """The events of the export after the one that ``Last-Event-ID`` names, up to ``last`` of its last one; 204 if that
    was the last one, at which browsers stop connecting again."""
    seq = request.headers.get("last-event-id", "0")
    if not (seq.isascii() and seq.isdigit() and len(seq) <= 9):
        raise Refused("'Last-Event-ID' is the number of an event.", code="bad_event_id")
    if is_head(request):
        return HeadersOnly(NO_STORE, media_type=EVENTS)
    try:
        news = await run_in_threadpool(watch.now, export_id, int(seq))
    except Unavailable:
        news = News([], False)  # they follow once the database is reachable again
    if news.over and not news.events:
        return Response(status_code=204, headers=NO_STORE)
    lines = event_lines(watch, export_id, int(seq), news, last)
    return StreamingResponse(lines, headers=NO_STORE, media_type=EVENTS)


async def event_lines(watch: Watch, export_id: str, seq: int, news: News, last: Last) -> AsyncIterator[str]:
    """The events after ``seq``, ``news`` and those that follow, up to the last one; periodic comments prevent proxies
    from timing out. When the service shuts down the stream ends early, and the client continues elsewhere with
    ``Last-Event-ID``."""
    while True:
        for event in news.events:
            seq = event.seq
            try:
                shown = await run_in_threadpool(last, event) if event.last else event
            except FluxportError:
                return  # the status has been sent; the client gets the error when it connects again
            yield f"id: {seq}\nevent: {shown.kind}\ndata: {json.dumps(shown.data)}\n\n"
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
