"""Every error that is raised on purpose.

The family decides what happens next, the same at every edge; nothing ever branches on the text of a message::

    FluxportError
    ├── Refused            what was asked cannot be done as asked; never retried       400  exit 2  INVALID_ARGUMENT
    │   ├── QueryRefused   the guard will not run this statement                       400  exit 2
    │   ├── QueryFailed    the database rejected the statement                         400  exit 1
    │   ├── Unauthorized   no or wrong credentials of the caller                       401  exit 1  UNAUTHENTICATED
    │   ├── Forbidden      known, but not allowed                                      403  exit 1  PERMISSION_DENIED
    │   ├── NotFound       no such thing, or not yours                                 404  exit 1  NOT_FOUND
    │   ├── Conflict       not in this state                                           409  exit 1  FAILED_PRECONDITION
    │   ├── Gone           existed, expired or used                                    410  exit 1  NOT_FOUND
    │   ├── LimitExceeded  more rows, bytes or cell than allowed                       413  exit 1  RESOURCE_EXHAUSTED
    │   ├── Unprocessable  understood, but it contradicts what was asked before        422  exit 1  ALREADY_EXISTS
    │   ├── WarningsFound  the data had to be changed, and ``--strict`` forbids it     422  exit 3
    │   ├── Disabled       switched off by the operator                                501  exit 1  UNIMPLEMENTED
    │   └── TooMany        come back later (``retry_after_s``)                         429  exit 1  RESOURCE_EXHAUSTED
    ├── Unavailable        something outside is not there now; the only kind retried   503  exit 1  UNAVAILABLE
    │   ├── TimedOut       it took longer than it may                                  503  exit 1  DEADLINE_EXCEEDED
    │   └── StoreFull      the target has no room                                      507  exit 1
    ├── Canceled           somebody asked for the end                                  499  exit 1  CANCELLED
    └── Broken             a fault of ours or of a file; not retried                   500  exit 1  INTERNAL

``code`` is stable and machine-readable, the message one sentence for a person that says what was wrong, with what, and
what to do. Neither ever holds a secret, a row value or SQL of somebody else. ``detail`` is what the outside said in its
own words, which may: for the eyes of who wrote the query (the command line), never for logs or other callers. ``again``
False: a stored export is not tried again by itself, for the attempt has taken all the time that it was given.
"""

from __future__ import annotations

from typing import ClassVar


class FluxportError(Exception):
    """The root; catch it at an edge, raise one of its families."""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_code: ClassVar[str] = "failed"
    grpc_status: ClassVar[str] = "INTERNAL"  # by its name in grpc.StatusCode
    flight_error: ClassVar[str] = "FlightInternalError"  # by its name in pyarrow.flight

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
