"""The address of a caller at the running service: in the pauses of sign-in, in the audit, over HTTP, gRPC and
Flight, with and without trusted proxies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from fluxport.jobs.store import JobStore
from fluxport.samples import create_sample
from grpc_support import grpc_api, metadata, people
from proxies import nginx
from service_support import service

LOGIN = {"user": "mallory", "password": "a wrong password"}
OURS = {"X-Requested-With": "fluxport"}
CLIENT = "203.0.113.7"


def audited(folder: Path, action: str) -> list[str]:
    """The addresses of the audit's entries, newest first."""
    store = JobStore(f"sqlite:///{folder}/fluxport.db")
    try:
        return [line["address"] for line in store.audit_page(action=action)]
    finally:
        store.close()


def database(folder: Path) -> str:
    create_sample(folder / "rows.db", 50, ("shop",))
    return f"sqlite:///{folder / 'rows.db'}"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_new_address_on_each_try_changes_nothing_without_a_trusted_proxy(tmp_path: Path, header: str) -> None:
    with service(tmp_path, database(tmp_path), "--no-worker", FORWARDED_ALLOW_IPS="*") as client:
        codes = [
            httpx.post(client.base + "/session", json=LOGIN, headers=OURS | {header: f"198.51.100.{n}"}).status_code
            for n in range(40)
        ]
        assert codes.count(401) < 20, codes
        assert 429 in codes
        signed_in = httpx.post(client.base + "/session/dev", headers=OURS | {"X-Forwarded-Proto": "https"})
        assert "secure" not in signed_in.headers["set-cookie"].lower()
    assert set(audited(tmp_path, "login")) == {"127.0.0.1"}


def test_a_trusted_proxy_forwards_the_clients_address(tmp_path: Path) -> None:
    settings = {"FLUXPORT_SERVER__TRUSTED_PROXIES": "[127.0.0.1, 10.0.0.0/8]", "FLUXPORT_AUTH__LINK_S": "60"}
    with service(tmp_path, database(tmp_path), "--no-worker", **settings) as client:
        codes = []
        for number in range(40):
            said = {"X-Forwarded-For": f"198.51.100.{number}, {CLIENT}, 10.0.0.2", "Forwarded": "for=192.0.2.9"}
            codes.append(httpx.post(client.base + "/session", json=LOGIN, headers=OURS | said).status_code)
        assert 429 in codes, "not the last one in any case, which may come just after a pause"
        assert set(audited(tmp_path, "login")) == {CLIENT}
        body = json.dumps({"source": {"query": "SELECT id FROM trades"}}).encode()
        made = client.post("/v1/stream", body, headers={"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https"})
        assert made.status_code == 200, made.text
        assert set(audited(tmp_path, "export")) == {CLIENT}
        shown = httpx.get(client.base + "/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
        assert shown.status_code == 404, "what came through a proxy is not this machine"


def test_clients_of_a_local_proxy_without_a_header_do_not_count_as_local(tmp_path: Path) -> None:
    """nginx with its defaults: it sets ``Host`` to its upstream's name and speaks HTTP/1.0."""
    settings = {"FLUXPORT_SERVER__DETAILS": "local"}
    with (
        service(tmp_path, database(tmp_path), "--no-worker", **settings) as client,
        nginx(tmp_path / "nginx", client.base) as proxy,
    ):
        found = {path: client.plain_get(proxy + path).status_code for path in ("/docs", "/metrics")}
        signed_in = httpx.post(proxy + "/session/dev", headers=OURS)
        assert client.plain_get("/docs").status_code == 200
    assert found == {"/docs": 404, "/metrics": 404}
    assert signed_in.status_code == 404


def test_grpc_and_flight_see_the_same_addresses(tmp_path: Path) -> None:
    """The client's network decides whether it needs a key, not the proxy's."""
    settings = {
        "FLUXPORT_SERVER__TRUSTED_PROXIES": "[127.0.0.1]",
        "FLUXPORT_GRPC__KEYLESS": "[203.0.113.0/24]",
        "FLUXPORT_FLIGHT__PORT": "0",
    }
    with grpc_api(tmp_path, **settings) as place:
        requests = [metadata(), *people(10)]
        assert place.push(requests, ("x-forwarded-for", f"192.0.2.1, {CLIENT}"), key="").file()
        stranger = place.push(requests, ("x-forwarded-for", f"{CLIENT}, 192.0.2.1"), key="")
        assert stranger.code.name == "UNAUTHENTICATED"
        assert set(audited(tmp_path, "export")) == {CLIENT}

        found = re.search(r"Arrow Flight at (\S+)", next(tmp_path.glob("serve-*.log")).read_text())
        assert found
        sent: list[Any] = [(b"authorization", f"Bearer {place.key}".encode()), (b"x-forwarded-for", b"192.0.2.44")]
        command = json.dumps({"request_id": "flight", "format": "csv", "filename": "a"}).encode()
        table = pa.table({"id": [1, 2, 3]})
        with fl.connect(f"grpc://{found[1]}") as flight:
            writer, reported = flight.do_put(
                fl.FlightDescriptor.for_command(command), table.schema, fl.FlightCallOptions(timeout=60, headers=sent)
            )
            with writer:
                writer.write_table(table)
                writer.done_writing()
                while reported.read() is not None:
                    pass
        assert audited(tmp_path, "export") == ["192.0.2.44", CLIENT]
