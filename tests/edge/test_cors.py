"""Scripts of pages elsewhere call the service from the origins that server.cors names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fluxport.config import load
from fluxport.errors import Refused
from service_support import Client, service

DASHBOARD, OTHER = "https://dashboard.example.com", "https://other.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("cors")
    with service(
        folder, "", FLUXPORT_SERIES__PATH=str(folder / "series.db"), FLUXPORT_SERVER__CORS=f'["{DASHBOARD}"]'
    ) as running:
        yield running


def test_a_preflight_of_a_named_origin_allows_its_headers(client: Client) -> None:
    answer = httpx.options(f"{client.base}/api/v1/metadata", headers=PREFLIGHT | {"Origin": DASHBOARD})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == DASHBOARD
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert "GET" in answer.headers["access-control-allow-methods"]
    refused = httpx.options(f"{client.base}/api/v1/metadata", headers=PREFLIGHT | {"Origin": OTHER})
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(("path", "status"), [("/api/v1/metadata", 200), ("/api/v1/query", 400), ("/v1/exports", 401)])
def test_responses_and_errors_are_readable_by_a_named_origin_alone(client: Client, path: str, status: int) -> None:
    headers = {"Origin": DASHBOARD, "Authorization": "Bearer of-another-system"}
    answer = httpx.get(client.base + path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == DASHBOARD
    assert answer.headers["access-control-expose-headers"] == "*"
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers, "no page elsewhere uses a session"
    for origin in (OTHER, "null"):
        other = httpx.get(client.base + path, headers=headers | {"Origin": origin})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "wrong", ["dashboard.example.com", "https://dashboard.example.com/", "https://*.example.com", "HTTPS://a.example"]
)
def test_what_no_browser_sends_as_an_origin_is_refused_at_the_start(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(Refused, match=r"server\.cors"):
        load(environ={"FLUXPORT_SERVER__CORS": f'["{wrong}"]'}, folder=tmp_path)
    assert load(environ={"FLUXPORT_SERVER__CORS": '["*", "http://localhost:3000"]'}, folder=tmp_path).server.cors
