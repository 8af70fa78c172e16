"""Every error that Fluxport raises deliberately.

The family decides what happens next, the same in every API; no code branches on the text of a message::

    FluxportError
    ├── Refused            the request is invalid; never retried                       400  exit 2  INVALID_ARGUMENT
    │   ├── QueryRefused   the guard rejected the statement                            400  exit 2
    │   ├── QueryFailed    the database rejected the statement                         400  exit 1
    │   ├── Unauthorized   no or wrong credentials of the caller                       401  exit 1  UNAUTHENTICATED
    │   ├── Forbidden      authenticated, but not allowed                              403  exit 1  PERMISSION_DENIED
    │   ├── NotFound       does not exist, or belongs to someone else                  404  exit 1  NOT_FOUND
    │   ├── Conflict       not possible in this state                                  409  exit 1  FAILED_PRECONDITION
    │   ├── Gone           expired or used up                                          410  exit 1  NOT_FOUND
    │   ├── LimitExceeded  more rows or bytes, or a larger cell, than allowed          413  exit 1  RESOURCE_EXHAUSTED
    │   ├── Unprocessable  valid, but it contradicts an earlier request                422  exit 1  ALREADY_EXISTS
    │   ├── WarningsFound  the data had to be changed, and ``--strict`` forbids it     422  exit 3
    │   ├── Disabled       switched off by the operator                                501  exit 1  UNIMPLEMENTED
    │   └── TooMany        retry later (``retry_after_s``)                             429  exit 1  RESOURCE_EXHAUSTED
    ├── Unavailable        an external system is unavailable; the only kind retried    503  exit 1  UNAVAILABLE
    │   ├── TimedOut       it took longer than allowed                                 503  exit 1  DEADLINE_EXCEEDED
    │   └── StoreFull      the target has no space left                                507  exit 1
    ├── Canceled           canceled by the caller or a client that disconnected        499  exit 1  CANCELLED
    └── Broken             a bug or a damaged file; not retried                        500  exit 1  INTERNAL

``code`` is stable and machine-readable. The message is one sentence for a person: what was wrong, with what, and what
to do. Neither ever contains a secret, a row value or SQL of another caller. ``detail`` is the external system's own
message, which may contain them: only the author of the query sees it (the command line), never logs or other callers.
``again`` False: a stored export is not retried automatically, as the attempt has used all its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar


class FluxportError(Exception):
    """The base class; raise one of the families, catch this one at an API's boundary."""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_code: ClassVar[str] = "failed"
    grpc_status: ClassVar[str] = "INTERNAL"  # a name of grpc.StatusCode
    flight_error: ClassVar[str] = "FlightInternalError"  # a name of pyarrow.flight

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        detail: str | None = None,
        again: bool = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s
        self.detail = detail
        self.again = again


class Refused(FluxportError):
    status = 400
    exit_code = 2
    grpc_status = "INVALID_ARGUMENT"
    flight_error = "FlightServerError"
    default_code = "refused"


class QueryRefused(Refused):
    default_code = "query_refused"


class QueryFailed(Refused):
    exit_code = 1
    default_code = "query_failed"


class Unauthorized(Refused):
    status = 401
    exit_code = 1
    grpc_status = "UNAUTHENTICATED"
    flight_error = "FlightUnauthenticatedError"
    default_code = "unauthorized"


class Forbidden(Refused):
    status = 403
    exit_code = 1
    grpc_status = "PERMISSION_DENIED"
    flight_error = "FlightUnauthorizedError"
    default_code = "forbidden"


class NotFound(Refused):
    status = 404
    exit_code = 1
    grpc_status = "NOT_FOUND"
    default_code = "not_found"


class Conflict(Refused):
    status = 409
    exit_code = 1
    grpc_status = "FAILED_PRECONDITION"
    default_code = "conflict"


class Gone(Refused):
    status = 410
    exit_code = 1
    grpc_status = "NOT_FOUND"
    default_code = "gone"


class LimitExceeded(Refused):
    status = 413
    exit_code = 1
    grpc_status = "RESOURCE_EXHAUSTED"
    default_code = "limit_exceeded"


class Unprocessable(Refused):
    status = 422
    exit_code = 1
    grpc_status = "ALREADY_EXISTS"
    default_code = "unprocessable"


class WarningsFound(Refused):
    status = 422
    exit_code = 3
    default_code = "warnings_found"


class Disabled(Refused):
    status = 501
    exit_code = 1
    grpc_status = "UNIMPLEMENTED"
    default_code = "disabled"


class TooMany(Refused):
    status = 429
    exit_code = 1
    grpc_status = "RESOURCE_EXHAUSTED"
    flight_error = "FlightUnavailableError"
    default_code = "too_many"


class Unavailable(FluxportError):
    status = 503
    retryable = True
    grpc_status = "UNAVAILABLE"
    flight_error = "FlightUnavailableError"
    default_code = "unavailable"


class TimedOut(Unavailable):
    grpc_status = "DEADLINE_EXCEEDED"
    flight_error = "FlightTimedOutError"
    default_code = "timed_out"


class StoreFull(Unavailable):
    status = 507
    default_code = "store_full"


class Canceled(FluxportError):
    status = 499
    grpc_status = "CANCELLED"
    flight_error = "FlightCancelledError"
    default_code = "canceled"


class Broken(FluxportError):
    default_code = "broken"


def together(problems: Sequence[Refused]) -> Refused:
    """One error with the sentences of all, one per line, and the code of the first."""
    return Refused("\n".join(problem.message for problem in problems), code=problems[0].code)


def check_all(*checks: Callable[[], object]) -> None:
    """Call every check; Refused with the sentences of all that raised it."""
    problems = []
    for check in checks:
        try:
            check()
        except Refused as problem:
            problems.append(problem)
    if problems:
        raise together(problems) from None
