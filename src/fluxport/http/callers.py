"""Authentication: a bearer key, a signature over the raw bytes of the request, or the session of a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys, is_bearer
from fluxport.auth.rate import Rate
from fluxport.auth.replay import Replays, SharedReplays
from fluxport.auth.sessions import Sessions
from fluxport.auth.signing import Signed, SigningKey, Version, is_signed, verify
from fluxport.errors import LimitExceeded, Unauthorized
from fluxport.http.cookies import SAFE, Cookies, check_same_origin
from fluxport.http.responses import request_id, traceparent

ANONYMOUS = "anonymous"  # the owner of exports that were requested without credentials
NEW: tuple[Version, ...] = ("v2",)
BOTH: tuple[Version, ...] = ("v1", "v2")  # for FluxQuery's API alone


class Callers:
    """Authenticates requests by signing keys, bearer keys and sessions, and limits the rate of each caller."""

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
        """Unavailable if signed requests cannot be accepted now."""
        self._replays.probe()

    async def verified(
        self, request: Request, accept: Collection[Version] = NEW, *, body_max_bytes: int | None = None
    ) -> tuple[Caller, bytes]:
        """The caller and the body. Unauthorized; Forbidden if a foreign page uses a session; TooMany; LimitExceeded
        before a large body is read whole. Bearer keys and sessions are checked before the body is read. The signature
        of a request decides, unless it has one of our keys; ``Authorization`` may be for a proxy."""
        if _has_key(request):
            caller = await run_in_threadpool(self._by_key, request)
            body = await self.body(request, body_max_bytes)
        elif is_signed(request.scope["headers"]):
            body = await self.body(request, body_max_bytes)
            caller = await run_in_threadpool(self._by_signature, request, body, accept)
        else:
            caller = await run_in_threadpool(self._by_session, request)
            body = await self.body(request, body_max_bytes)
        self.rate.take(caller.rated)
        return caller, body

    async def repeatable(self, request: Request) -> tuple[Caller, bytes, str | None]:
        """As :meth:`verified` with both versions. A version 1 signature is not recorded as used but returned, for
        FluxQuery's clients may sign equal requests in one second and so equally: it identifies one request, which must
        not be carried out twice."""
        if _has_key(request) or not is_signed(request.scope["headers"]):
            return (*await self.verified(request), None)
        body = await self.body(request)
        signed, now = await run_in_threadpool(self._signed, request, body, BOTH)
        if signed.version == "v2":
            await run_in_threadpool(self._replays.use, signed, now)
        caller = with_request(request, Caller.of_key(self._signing[signed.key_id]))
        self.rate.take(caller.rated)
        return caller, body, signed.signature if signed.version == "v1" else None

    @staticmethod
    def proves(request: Request) -> bool:
        """Whether the request has a key or a signature of this service, valid or not. Credentials of another system,
        such as a proxy, prove nothing here."""
        return any(map(is_bearer, request.headers.getlist("authorization"))) or is_signed(request.scope["headers"])

    def has_credentials(self, request: Request) -> bool:
        """Whether the request has credentials of this service, of any kind, valid or not."""
        return self.proves(request) or self.cookies.session(request) is not None

    def anonymous(self, request: Request, scopes: frozenset[str]) -> Caller:
        """A caller without credentials, for APIs that admit one; rate-limited by its address (TooMany)."""
        self.rate.take(f"address {address_of(request)}")
        return with_request(request, Caller(ANONYMOUS, scopes=scopes))

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
        return with_request(request, Caller.of_key(key))

    def _by_signature(self, request: Request, body: bytes, accept: Collection[Version]) -> Caller:
        signed, now = self._signed(request, body, accept)
        self._replays.use(signed, now)
        return with_request(request, Caller.of_key(self._signing[signed.key_id]))

    def _signed(self, request: Request, body: bytes, accept: Collection[Version]) -> tuple[Signed, float]:
        """The valid signature of the request, which may have been used before, and the time."""
        scope = request.scope
        target = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        now = self._clock()
        return verify(self._signing, request.method, target, scope["headers"], body, now, accept), now

    def _by_session(self, request: Request) -> Caller:
        token = self.cookies.session(request)
        user = None if token is None else self._sessions.find(token)
        if user is None:
            raise _unauthorized()
        if request.method not in SAFE:
            check_same_origin(request)
        return with_request(request, Caller(user.name, scopes=user.scopes, person=True))


def _has_key(request: Request) -> bool:
    """Whether ``Authorization`` decides who the caller is: it has one of our keys, valid or not, or the request is not
    signed."""
    headers = request.headers.getlist("authorization")
    return any(map(is_bearer, headers)) or (bool(headers) and not is_signed(request.scope["headers"]))


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def with_request(request: Request, caller: Caller) -> Caller:
    """The caller with the address, the request id and the traceparent of its request."""
    address = address_of(request)
    return replace(caller, address=address, request_id=request_id(request), traceparent=traceparent(request))


def _unauthorized() -> Unauthorized:
    """One message for every invalid key or session and for missing credentials, so that it reveals nothing."""
    return Unauthorized(
        "The request needs a valid key as 'Authorization: Bearer ...', a signature or a session: check the "
        "credentials, or sign in again."
    )
