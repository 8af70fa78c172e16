"""Pure ASGI middleware: the client's address and scheme as trusted proxies report them, set before any handler runs."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from fluxport.auth.proxies import Proxies, address

SCHEMES = ("http", "https")


class Origins:
    """Replaces the address and the scheme of the last proxy with those of the client that the proxies serve."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._proxies.networks:
            self._set_origin(scope)
        await self._app(scope, receive, send)

    def _set_origin(self, scope: Scope) -> None:
        peer = address(scope["client"][0]) if scope.get("client") else None
        if not self._proxies.trusts(peer):
            return
        origin = self._proxies.origin(peer, _lines(scope, self._proxies.header))
        scope["client"] = (str(origin.address), 0)
        scheme = origin.scheme
        if self._proxies.header == "x-forwarded-for":
            scheme = ",".join(_lines(scope, "x-forwarded-proto")).rpartition(",")[2].strip().lower()
        if scheme in SCHEMES:
            scope["scheme"] = scheme


def _lines(scope: Scope, name: str) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()]
