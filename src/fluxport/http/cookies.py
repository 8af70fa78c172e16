"""The cookies of sessions and of downloads by one-time links, and the same-origin check of requests with a session."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from fluxport.auth.sessions import WHOLE_S
from fluxport.errors import Forbidden

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Cookies:
    """``https``: whether browsers reach the service over TLS even if this process sees plain HTTP, behind a proxy."""

    https: bool = False

    def session(self, request: Request) -> str | None:
        return request.cookies.get(self._name(request))

    def set(self, request: Request, response: Response, token: str) -> None:
        response.set_cookie(
            self._name(request),
            token,
            max_age=int(WHOLE_S),
            path="/",
            secure=self._secure(request),
            httponly=True,
            samesite="strict",
        )

    def delete(self, request: Request, response: Response) -> None:
        response.delete_cookie(
            self._name(request), path="/", secure=self._secure(request), httponly=True, samesite="strict"
        )

    def download(self, request: Request, token_sha256: str) -> str | None:
        """The session of the client that redeemed this one-time link."""
        return request.cookies.get(_download_name(token_sha256))

    def of_download(self, request: Request, token_sha256: str, session: str) -> str:
        """The header ``Set-Cookie`` for the client that redeems this one-time link. Without a path, a browser sends the
        cookie to the addresses of this export alone, as it sees them, also behind a proxy that adds a prefix. Lax: the
        link may be opened again from a mail."""
        response = Response()
        response.set_cookie(
            _download_name(token_sha256),
            session,
            path=None,
            secure=self._secure(request),
            httponly=True,
            samesite="lax",
        )
        return response.headers["set-cookie"]

    def _secure(self, request: Request) -> bool:
        return self.https or request.url.scheme == "https"

    def _name(self, request: Request) -> str:
        # Browsers accept this prefix only over TLS and from this very host, so no other host can set such a cookie.
        return "__Host-fluxport" if self._secure(request) else "fluxport"


def _download_name(token_sha256: str) -> str:
    return f"fluxport-download-{token_sha256[:16]}"


def check_same_origin(request: Request) -> None:
    """Forbidden unless the browser's headers, or a header that no other site's page can add, show our own page."""
    headers = request.headers
    if (site := headers.get("sec-fetch-site")) is not None:
        ours = site == "same-origin"
    elif (origin := headers.get("origin")) is not None:
        ours = urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    else:
        ours = headers.get("x-requested-with") == "fluxport"
    if not ours:
        raise Forbidden(
            "This request did not come from a page of this service; a program adds 'X-Requested-With: fluxport'.",
            code="cross_site",
        )
