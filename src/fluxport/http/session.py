"""Signing in and out: ``/session``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport.auth.proxies import ADDED_BY_PROXIES
from fluxport.auth.signin import SignIn
from fluxport.auth.users import User
from fluxport.errors import NotFound, Refused, Unauthorized, Unavailable
from fluxport.http.callers import Callers, address_of
from fluxport.http.cookies import check_same_origin
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.strict_json import read_json

# Hashing a password takes some 20 ms and 19 MiB: how many run concurrently, and how many more may wait.
HASHES_AT_ONCE = 2
HASHES_WAITING = 32

Audience = Literal["local", "on", "off"]


def router(callers: Callers, sign_in: SignIn) -> Router:
    routes = Router(prefix="/session", tags=["session"])
    hashing = CapacityLimiter(HASHES_AT_ONCE)
    cookies = callers.cookies

    def signed_in(request: Request, user: User, token: str) -> Response:
        response = JSONResponse(who(user.name, user.scopes), 201, NO_STORE)
        cookies.set(request, response, token)
        return response

    def may_develop(request: Request) -> bool:
        return sign_in.sessions.development and is_local(request)

    @routes.post("", status_code=201, operation_id="sign_in", summary="Sign in with user and password")
    async def enter(request: Request) -> Response:
        check_same_origin(request)
        name, password = read_login(read_json(await callers.body(request)))
        if hashing.statistics().tasks_waiting >= HASHES_WAITING:
            raise Unavailable("Too many users are signing in; try again in a moment.", code="busy", retry_after_s=2)
        user, token = await to_thread.run_sync(
            lambda: sign_in.with_password(name, password, address_of(request), instead_of=cookies.session(request)),
            limiter=hashing,
        )
        return signed_in(request, user, token)

    @routes.post(
        "/dev",
        status_code=201,
        operation_id="sign_in_as_developer",
        summary="Sign in as dev: only in development, and from this machine",
    )
    async def develop(request: Request) -> Response:
        check_same_origin(request)
        if not may_develop(request):
            raise NotFound("There is nothing at this address.")
        user, token = await run_in_threadpool(
            sign_in.as_developer, address_of(request), instead_of=cookies.session(request)
        )
        return signed_in(request, user, token)

    @routes.get("", operation_id="get_session", summary="The signed-in user and its scopes")
    async def show(request: Request) -> Response:
        caller, _ = await callers.verified(request)
        return JSONResponse(who(caller.owner, caller.scopes), headers=NO_STORE)

    @routes.get("/state", operation_id="session_state", summary="The signed-in user, if any, and how to sign in")
    async def state(request: Request) -> Response:
        try:
            caller, _ = await callers.verified(request)
            user = who(caller.owner, caller.scopes)
        except Unauthorized:
            user = None
        ways = ["password", "dev"] if may_develop(request) else ["password"]
        return JSONResponse({"user": user, "ways": ways}, headers=NO_STORE)

    @routes.delete("", status_code=204, operation_id="sign_out", summary="Sign out")
    async def leave(request: Request) -> Response:
        check_same_origin(request)
        if (token := cookies.session(request)) is not None:
            await run_in_threadpool(sign_in.sessions.end, token)
        response = Response(status_code=204, headers=NO_STORE)
        cookies.delete(request, response)
        return response

    return routes


def who(name: str, scopes: frozenset[str]) -> dict[str, Any]:
    return {"user": name, "scopes": sorted(scopes), "admin": "admin" in scopes}


def read_login(body: Any) -> tuple[str, str]:
    if not isinstance(body, dict) or set(body) != {"user", "password"}:
        raise Refused('The body must be {"user": "...", "password": "..."}.', code="bad_body")
    name, password = body["user"], body["password"]
    if not (isinstance(name, str) and isinstance(password, str)):
        raise Refused("'user' and 'password' must be text.", code="bad_body")
    return name, password


def is_local(request: Request) -> bool:
    """Whether the request was sent from this machine to a loopback name: without a proxy, and not to a foreign name
    that resolves to this machine, by which a page of another site could pass as ours. A proxy is recognized by the
    headers it adds, or by HTTP/1.0, which nginx speaks by default without adding any."""
    forwarded = request.scope["http_version"] != "1.1" or any(name in request.headers for name in ADDED_BY_PROXIES)
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    return not forwarded and _is_loopback(address_of(request)) and (host == "localhost" or _is_loopback(host))


def among(audience: Audience, request: Request) -> bool:
    """Whether ``audience`` includes the caller."""
    return audience == "on" or (audience == "local" and is_local(request))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
