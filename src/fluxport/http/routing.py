"""Routers whose GET routes also answer HEAD, as RFC 9110, 9.1 requires: load balancers, ``wget --spider`` and
``curl -I`` use it.

A HEAD request runs the same handler, and the server omits the body. A handler that streams checks the method itself and
returns :class:`HeadersOnly`, so that a HEAD request reads, records and consumes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class Route(APIRoute):
    """A route that accepts HEAD wherever it accepts GET."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: set[str] | list[str] | None = None, **settings: Any
    ) -> None:
        accepted = set(methods or ("GET",))
        super().__init__(path, endpoint, methods=accepted | ({"HEAD"} if "GET" in accepted else set()), **settings)


class Router(APIRouter):
    """A router whose routes are :class:`Route`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(route_class=Route, **settings)


class HeadersOnly(Response):
    """The response to HEAD where GET streams: the same headers, with a length only if GET would send one."""

    def __init__(self, headers: Mapping[str, str], status: int = 200, media_type: str | None = None) -> None:
        super().__init__(status_code=status, headers=headers, media_type=media_type)
        if "content-length" not in {name.lower() for name in headers}:  # Starlette has set it to 0
            del self.headers["content-length"]


def is_head(request: Request) -> bool:
    """Whether the response must have no body."""
    return request.method == "HEAD"
