"""One registry says what each error code means, and every edge reads it there."""

from __future__ import annotations

import importlib.util
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import pyarrow.flight as fl
import pytest

from fluxport import errors
from fluxport.error_codes import FAMILIES, Failure, family_of
from fluxport.errors import FluxportError
from fluxport.grpc.responses import status_of

ROOT = Path(__file__).parent.parent


def _generate() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_error_that_the_source_raises_is_registered_with_its_family() -> None:
    raised = {(item.code, item.family) for item in _generate().raised()}
    registered = {(code, family) for code, families in FAMILIES.items() for family in families}
    assert raised <= registered


def test_nothing_is_registered_that_the_source_does_not_raise() -> None:
    raised = {item.code for item in _generate().raised()}
    texts = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py") if path.name != "error_codes.py")
    dynamic = re.compile(
        "(webhook|upload)_(not_public|timeout|tls|unreachable|unresolved)"
    )  # the code is made of what the target is for
    unknown = {code for code in FAMILIES if code not in raised and f'"{code}"' not in texts}
    assert not {code for code in unknown if not dynamic.fullmatch(code)}


# Status, exit code, whether it is retried, gRPC status and Flight error of each family, written once more.
MEANINGS = {
    "Refused": (400, 2, False, "INVALID_ARGUMENT", "FlightServerError"),
    "QueryRefused": (400, 2, False, "INVALID_ARGUMENT", "FlightServerError"),
    "QueryFailed": (400, 1, False, "INVALID_ARGUMENT", "FlightServerError"),
    "Unauthorized": (401, 1, False, "UNAUTHENTICATED", "FlightUnauthenticatedError"),
    "Forbidden": (403, 1, False, "PERMISSION_DENIED", "FlightUnauthorizedError"),
    "NotFound": (404, 1, False, "NOT_FOUND", "FlightServerError"),
    "Conflict": (409, 1, False, "FAILED_PRECONDITION", "FlightServerError"),
    "Gone": (410, 1, False, "NOT_FOUND", "FlightServerError"),
    "LimitExceeded": (413, 1, False, "RESOURCE_EXHAUSTED", "FlightServerError"),
    "Unprocessable": (422, 1, False, "ALREADY_EXISTS", "FlightServerError"),
    "WarningsFound": (422, 3, False, "INVALID_ARGUMENT", "FlightServerError"),
    "Disabled": (501, 1, False, "UNIMPLEMENTED", "FlightServerError"),
    "TooMany": (429, 1, False, "RESOURCE_EXHAUSTED", "FlightUnavailableError"),
    "Unavailable": (503, 1, True, "UNAVAILABLE", "FlightUnavailableError"),
    "TimedOut": (503, 1, True, "DEADLINE_EXCEEDED", "FlightTimedOutError"),
    "StoreFull": (507, 1, True, "UNAVAILABLE", "FlightUnavailableError"),
    "Canceled": (499, 1, False, "CANCELLED", "FlightCancelledError"),
    "Broken": (500, 1, False, "INTERNAL", "FlightInternalError"),
}


def test_each_family_means_at_every_edge_what_clients_rely_on() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, FluxportError)]
    assert {
        family.__name__: (family.status, family.exit_code, family.retryable, family.grpc_status, family.flight_error)
        for family in found
        if family is not FluxportError
    } == MEANINGS


ALL = sorted({family for families in FAMILIES.values() for family in families}, key=lambda family: family.__name__)


@pytest.mark.parametrize("family", ALL)
def test_a_family_means_something_at_every_edge(family: type[FluxportError]) -> None:
    error = family("A sentence.")
    assert error.status == 499 or HTTPStatus(error.status)
    assert isinstance(status_of(error), grpc.StatusCode)
    assert issubclass(getattr(fl, error.flight_error), fl.FlightError)
    assert error.exit_code in (1, 2, 3)


def test_an_error_comes_back_from_its_record_as_what_it_was() -> None:
    for code, families in FAMILIES.items():
        retried = {family.retryable for family in families}
        for family in families:
            error = family("A sentence.", code=code)
            recorded = Failure.from_json(json.loads(json.dumps(Failure.of(error).to_json())))
            found = recorded.error()
            assert (found.code, found.message, found.retryable) == (code, "A sentence.", family.retryable)
            if len(families) == 1 or len(retried) == len(families):
                assert type(found) is family


def test_a_code_that_is_not_registered_is_known_by_whether_it_may_pass() -> None:
    assert family_of("a_plug_in's", retryable=True) is errors.Unavailable
    assert family_of("a_plug_in's", retryable=False) is errors.Refused
