"""Routers whose GET routes answer HEAD as well, as RFC 9110 asks of every server (9.1): load balancers, ``wget
--spider`` and ``curl -I`` look by it.

A HEAD request runs the same handler and the server leaves the body out. A handler whose answer is a stream looks at the
method itself and answers with :class:`HeadersOnly`, so that nothing is read, recorded or used up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class Route(APIRoute):
    """A route that takes HEAD wherever it takes GET."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: set[str] | list[str] | None = None, **given: Any
    ) -> None:
        taken = set(methods or ("GET",))
        super().__init__(path, endpoint, methods=taken | ({"HEAD"} if "GET" in taken else set()), **given)


class Router(APIRouter):
    """A router of such routes."""

    def __init__(self, **given: Any) -> None:
        super().__init__(route_class=Route, **given)


class HeadersOnly(Response):
    """The answer to HEAD where the body of GET is a stream: its headers, and a length only if they have one."""

    def __init__(self, headers: Mapping[str, str], status: int = 200, media_type: str | None = None) -> None:
        super().__init__(status_code=status, headers=headers, media_type=media_type)
        if "content-length" not in {name.lower() for name in headers}:  # Starlette has put that of no body there
            del self.headers["content-length"]


def is_head(request: Request) -> bool:
    """Whether the answer is to have no body."""
    return request.method == "HEAD"
