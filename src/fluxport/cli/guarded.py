"""The guard in a child process, started first: its parser loads while the parent loads Arrow and connects, and a
statement that crashes the parser does not crash the command.

    parent:  fork ── load Arrow, the encoder, the source ── statement(): read the pipe ── run the statement
    child:      └─── load the parser ── check ── write JSON to the pipe ── exit
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fluxport import systems
from fluxport.errors import Broken, FluxportError, QueryRefused, Refused

if TYPE_CHECKING:
    from fluxport.policy.guard import GuardPolicy


# What the parser imports for functions that the guard does not call: to find other packages' dialects, and to compare
# trees.
UNUSED = {"importlib.metadata": "entry_points", "sqlglot.diff": "diff"}


def start(query: str, policy: Callable[[], GuardPolicy]) -> Callable[[], str]:
    """Start checking ``query``. The returned function waits for the result and returns the statement to run, or raises
    QueryRefused (Refused, if ``policy`` failed).

    It forks, so it must be called while the process has only one thread; where the system has no fork, the statement is
    checked in this process, when the returned function is called.
    """
    if not systems.FORKS:
        return lambda: _statement(_result(query, policy))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _check_in_child(writer, query, policy)
    os.close(writer)

    def statement() -> str:
        with os.fdopen(reader, "rb") as pipe:
            output = pipe.read()
        os.waitpid(child, 0)
        if not output:
            raise Broken("The statement could not be checked: the parser crashed; simplify it.", code="guard_died")
        return _statement(json.loads(output))

    return statement


def _statement(result: dict[str, str]) -> str:
    if "refused" in result:
        raise Refused(result["refused"], code=result["code"])
    if "query_refused" in result:
        # A hint for the user of the command line alone: callers of the service cannot bypass the guard.
        hint = "--no-guard relies on the account's privileges instead."
        raise QueryRefused(f"{result['query_refused']} {hint}", code=result["code"])
    return result["statement"]


def _result(query: str, policy: Callable[[], GuardPolicy]) -> dict[str, str]:
    """The statement to run, or why there is none."""
    from fluxport.policy.guard import check

    try:
        return {"statement": check(query, policy())}
    except FluxportError as error:
        kind = "query_refused" if isinstance(error, QueryRefused) else "refused"
        return {kind: error.message, "code": error.code}


def _check_in_child(writer: int, query: str, policy: Callable[[], GuardPolicy]) -> None:
    """Check the query, write the result to the pipe, and exit without running the parent's exit handlers."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # only the parent reports an interrupt
    try:
        data = json.dumps(_result(query, lambda: _deferring(policy()))).encode()
        while data:
            data = data[os.write(writer, data) :]
    except BrokenPipeError:
        pass  # the parent has already failed for another reason and does not read the result
    except BaseException as error:  # noqa: BLE001  the parent reports it; the child must not continue as a second parent
        sys.stderr.write(f"fluxport: the guard failed: {type(error).__name__}\n")
    finally:
        os._exit(0)


def _deferring(policy: GuardPolicy) -> GuardPolicy:
    """Replace the UNUSED modules, a fifth of the parser's time to load. Only for a process that does nothing else, and
    once the policy, whose configuration may need them, is there."""
    for name, function in UNUSED.items():
        if name not in sys.modules:
            sys.modules[name] = _deferred(name, function)
    return policy


def _deferred(name: str, function: str) -> ModuleType:
    """A module that is loaded once its ``function`` is called, or any other of its names is used."""
    module = ModuleType(name)

    def loaded() -> ModuleType:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return importlib.import_module(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(loaded(), function)(*args, **kwargs)

    def other(attribute: str) -> Any:
        if attribute.startswith("__"):  # what the import system looks for
            raise AttributeError(attribute)
        return getattr(loaded(), attribute)

    module.__dict__.update({function: call, "__getattr__": other})
    return module
