"""The guard in a process of its own, started first: its parser loads while the parent loads Arrow and connects, and a
statement that crashes a parser crashes nobody else."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fluxport.errors import Broken, FluxportError, QueryRefused, Refused

if TYPE_CHECKING:
    from fluxport.policy.guard import GuardPolicy


def start(query: str, policy: Callable[[], GuardPolicy]) -> Callable[[], str]:
    """Begin checking ``query``; the returned function waits and gives the statement to run, or raises QueryRefused
    (or Refused, if there is no policy to check it by).

    Must be called while the process has one thread: it forks.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, query, policy)
    os.close(writer)

    def statement() -> str:
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        if not answer:
            raise Broken("The statement could not be checked: the parser ended without an answer.", code="guard_died")
        found = json.loads(answer)
        if "refused" in found:
            raise Refused(found["refused"], code=found["code"])
        if "query_refused" in found:
            # After the reason: what whoever types the statement may do, and a caller of the service may not.
            hint = "--no-guard leaves it to the rights of the account."
            raise QueryRefused(f"{found['query_refused']} {hint}", code=found["code"])
        checked: str = found["statement"]
        return checked

    return statement


def _answer(writer: int, query: str, policy: Callable[[], GuardPolicy]) -> None:
    """In the child: check, answer through the pipe, and leave without running anybody's exit handlers."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what a person sees of an interrupt is the parent's
    try:
        from fluxport.policy.guard import check

        try:
            found = {"statement": check(query, policy())}
        except FluxportError as error:
            kind = "query_refused" if isinstance(error, QueryRefused) else "refused"
            found = {kind: error.message, "code": error.code}
        data = json.dumps(found).encode()
        while data:
            data = data[os.write(writer, data) :]
    except BrokenPipeError:
        pass  # the parent has refused something else already, and wants no answer
    except BaseException as error:  # noqa: BLE001  the parent tells; a child must never go on as a second parent
        sys.stderr.write(f"fluxport: the guard failed: {type(error).__name__}\n")
    finally:
        os._exit(0)
