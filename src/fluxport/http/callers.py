"""Who is calling: a bearer key, a signature over the bytes as they came, or the session of a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys
from fluxport.auth.rate import Rate
from fluxport.auth.replay import Replays, SharedReplays
from fluxport.auth.sessions import Sessions
from fluxport.auth.signing import SigningKey, Version, is_signed, verify
from fluxport.errors import LimitExceeded, Unauthorized
from fluxport.http.answers import request_id, trace_id
from fluxport.http.cookies import SAFE, Cookies, check_same_origin

STRANGER = "anonymous"  # whose exports they are that nobody proved to have asked for
NEW: tuple[Version, ...] = ("v2",)  # version 1 opens the old doors alone


class Callers:
    """Everybody who may call: keys that sign, keys that are shown, sessions; and how often each may."""

    def __init__(
        self,
        signing: Mapping[str, SigningKey],
        replays: Replays | SharedReplays,
        keys: Keys,
        sessions: Sessions,
        rate: Rate,
        *,
        cookies: Cookies,
        body_max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cookies = cookies
        self._signing = signing
        self._replays = replays
        self.keys = keys
        self._sessions = sessions
        self.rate = rate
        self._body_max_bytes = body_max_bytes
        self._clock = clock

    def probe(self) -> None:
        """Unavailable if no signed request can be let in now."""
        self._replays.probe()

    async def verified(
        self, request: Request, accept: Collection[Version] = NEW, *, body_max_bytes: int | None = None
    ) -> tuple[Caller, bytes]:
        """The caller and the body. Unauthorized; Forbidden for a session used by a foreign page; TooMany; LimitExceeded
        before a large body is read whole. What proves itself without the body is checked before one is read."""
        if request.headers.getlist("authorization"):
            caller = await run_in_threadpool(self._by_key, request)
            body = await self.body(request, body_max_bytes)
        elif is_signed(request.scope["headers"]):
            body = await self.body(request, body_max_bytes)
            caller = await run_in_threadpool(self._by_signature, request, body, accept)
        else:
            caller = await run_in_threadpool(self._by_session, request)
            body = await self.body(request, body_max_bytes)
        self.rate.take(f"key {caller.key_id}" if caller.key_id else f"user {caller.owner}")
        return caller, body

    @staticmethod
    def proves(request: Request) -> bool:
        """Whether the caller sends a key or a signature, whatever it is worth."""
        return "authorization" in request.headers or is_signed(request.scope["headers"])

    def has_credentials(self, request: Request) -> bool:
        """Whether anything came by which a caller could be known, whatever it is worth."""
        return self.proves(request) or self.cookies.session(request) is not None

    def stranger(self, request: Request, scopes: frozenset[str]) -> Caller:
        """Somebody who proves nothing, where a door is open to such; TooMany as for everybody else, by address."""
        self.rate.take(f"address {address_of(request)}")
        return came(request, Caller(STRANGER, scopes=scopes))

    async def body(self, request: Request, most_bytes: int | None = None) -> bytes:
        most_bytes = self._body_max_bytes if most_bytes is None else most_bytes
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise LimitExceeded(f"The request body is larger than {most_bytes:,} bytes.", code="body_too_large")
        return bytes(body)

    def _by_key(self, request: Request) -> Caller:
        key = self.keys.bearer(request.headers.getlist("authorization"))
        if key is None:
            raise _unauthorized()
        return came(request, Caller.of_key(key))

    def _by_signature(self, request: Request, body: bytes, accept: Collection[Version]) -> Caller:
        scope = request.scope
        target = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        now = self._clock()
        signed = verify(self._signing, request.method, target, scope["headers"], body, now, accept)
        self._replays.use(signed, now)
        return came(request, Caller.of_key(self._signing[signed.key_id]))

    def _by_session(self, request: Request) -> Caller:
        token = self.cookies.session(request)
        user = None if token is None else self._sessions.find(token)
        if user is None:
            raise _unauthorized()
        if request.method not in SAFE:
            check_same_origin(request)
        return came(request, Caller(user.name, scopes=user.scopes, person=True))


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def came(request: Request, caller: Caller) -> Caller:
    """The caller with where and under which ids the request came."""
    return replace(caller, address=address_of(request), request_id=request_id(request), trace_id=trace_id(request))


def _unauthorized() -> Unauthorized:
    """The same for everything that is wrong with a key or a session, and for nothing at all."""
    return Unauthorized(
        "This needs a key as 'Authorization: Bearer ...', a signature or a session, and what came is none that is "
        "valid now: check it, or sign in again."
    )
