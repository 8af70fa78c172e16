"""Fluxport exports the rows of a query as a file in the format and place you need: complete, or not at all.

>>> import fluxport
>>> fluxport.export("SELECT * FROM users", source="mysql://user:password@host/db", to="users.xlsx")

:func:`export` and :func:`stream` run in this process, :class:`Client` and :class:`AsyncClient` use a running service.
Every error is a :class:`FluxportError`. The names of ``__all__`` are stable; each is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxport.version import __version__

if TYPE_CHECKING:
    from fluxport.api import Dataset, Sensors, Stream, export, stream
    from fluxport.client.asynchronous import AsyncClient
    from fluxport.client.blocking import Client
    from fluxport.client.models import Job, JobEvent, JobFile, Link
    from fluxport.error_codes import Failure
    from fluxport.errors import (
        Broken,
        Canceled,
        Conflict,
        Disabled,
        FluxportError,
        Forbidden,
        Gone,
        LimitExceeded,
        NotFound,
        QueryFailed,
        QueryRefused,
        Refused,
        StoreFull,
        TimedOut,
        TooMany,
        Unauthorized,
        Unavailable,
        Unprocessable,
        WarningsFound,
    )
    from fluxport.findings import Finding
    from fluxport.stages import Limits
    from fluxport.targets import Column, ExportedFile, ExportResult


__all__ = [
    "AsyncClient",
    "Broken",
    "Canceled",
    "Client",
    "Column",
    "Conflict",
    "Dataset",
    "Disabled",
    "ExportResult",
    "ExportedFile",
    "Failure",
    "Finding",
    "FluxportError",
    "Forbidden",
    "Gone",
    "Job",
    "JobEvent",
    "JobFile",
    "LimitExceeded",
    "Limits",
    "Link",
    "NotFound",
    "QueryFailed",
    "QueryRefused",
    "Refused",
    "Sensors",
    "StoreFull",
    "Stream",
    "TimedOut",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "WarningsFound",
    "__version__",
    "export",
    "stream",
]

# The modules of public names; all others are in ``errors``.
_MODULES = {
    "AsyncClient": "client.asynchronous",
    "Client": "client.blocking",
    "Column": "targets",
    "ExportResult": "targets",
    "ExportedFile": "targets",
    "Dataset": "api",
    "Failure": "error_codes",
    "Finding": "findings",
    "Job": "client.models",
    "JobEvent": "client.models",
    "JobFile": "client.models",
    "Limits": "stages",
    "Link": "client.models",
    "Sensors": "api",
    "Stream": "api",
    "export": "api",
    "stream": "api",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
