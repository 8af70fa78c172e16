"""The old systems' own settings, every key and value, beside ``fluxport serve``: it starts, and does what they did."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from fluxport.config import load, shown
from own_servers import free_ports
from service_support import SECRET, Client, process
from services import require_mariadb

QUERY = "SELECT 7 AS id, 'Ada' AS name"
# The suffixes of the old objects, and how their content begins.
FILES = (
    ("csv", ".csv", b"id,name\n7,Ada\n"),
    ("json", ".json", b'{"id":7,"name":"Ada"}\n'),
    ("excel", ".xlsx", b"PK\x03\x04"),
)
FLUXQUERY = """\
APP_ENV=development
SERVER_PORT=8080
DEFAULT_TIMEOUT=15m
MYSQL_DSN=root:@tcp(localhost:3306)/test?parseTime=true
STORAGE_TYPE=local
LOCAL_STORAGE_PATH=./exports
S3_BUCKET=my-export-bucket
AWS_REGION=us-east-1
S3_ENDPOINT=
S3_PATH_STYLE=false
SMTP_HOST=
SMTP_PORT=587
SMTP_USER=
SMTP_PASS=
SMTP_FROM=noreply@example.com
API_SECRET=devsecret
COMPRESSION=false
EMAIL_ATTACH_FILE=true
WORKER_COUNT=5
MAX_DB_CONCURRENCY=3
"""


def test_every_variable_of_fluxquerys_example_is_a_setting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env").write_text(FLUXQUERY)
    config = load(environ={}, folder=tmp_path)
    expected: dict[str, Any] = {
        "app_env": "development",
        "server.port": 8080,
        "limits.export_s": 900,
        "stores.local.type": "local",
        "stores.local.path": "exports",
        "email.host": "",
        "email.port": 587,
        "email.user": "",
        "email.password": "",
        "email.sender": "noreply@example.com",
        "compression": "none",
        "email.attach": True,
        "limits.workers": 5,
        "connections.main.queries_max": 3,
    }
    found: dict[str, Any] = {}
    for name in expected:
        found[name] = shown(config)
        for part in name.split("."):
            found[name] = found[name][part]
    assert found == expected
    assert config.connections["main"].url.get_secret_value() == "root:@tcp(localhost:3306)/test?parseTime=true"
    assert config.auth.api_secret is not None
    assert config.auth.api_secret.get_secret_value() == "devsecret"
    assert caplog.messages == []


def test_fluxquerys_example_of_a_bucket_is_read_once_it_says_s3(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(FLUXQUERY.replace("STORAGE_TYPE=local", "STORAGE_TYPE=s3"))
    store = shown(load(environ={}, folder=tmp_path))["stores"]["local"]
    expected = {"bucket": "my-export-bucket", "region": "us-east-1", "endpoint": None, "path_style": False}
    assert {name: store[name] for name in expected} == expected


@pytest.mark.parametrize(("word", "ending"), [("false", ""), ("true", ".gz")])
def test_the_service_beside_fluxquerys_file_stores_as_the_old_one(tmp_path: Path, word: str, ending: str) -> None:
    port = urlsplit(require_mariadb()).port or 3306
    text = FLUXQUERY.replace("COMPRESSION=false", f"COMPRESSION={word}").replace(":3306", f":{port}")
    # The port of the file, without those of the tests that run beside this one.
    [http_port] = free_ports(1)
    (tmp_path / ".env").write_text(text.replace("SERVER_PORT=8080", f"SERVER_PORT={http_port}"))
    with process("serve", "--grpc-port", "0", folder=tmp_path, until="listening on") as (started, line):
        assert line.endswith(f":{http_port}")
        client = Client(f"http://127.0.0.1:{http_port}", started.pid, secret="devsecret")
        for form, suffix, content in FILES:
            answer = client.post("/export", {"query": QUERY, "format": form, "email": "a@example.com"}, version=1)
            assert answer.status_code == 202, answer.text
            job = answer.json()["job_id"]
            done = client.finished(job)
            assert done["status"] == "COMPLETED", done
            stored = (tmp_path / "exports" / f"{job}{suffix}{ending}").read_bytes()
            assert (gzip.decompress(stored) if ending else stored).startswith(content)
            assert done["filename"].partition(".")[2] == (suffix + ending).removeprefix(".")
            download = client.plain_get(done["download_url"])
            assert download.content == stored
            assert f'filename="{done["filename"]}"' in download.headers["content-disposition"]


def test_the_service_starts_with_the_historians_variables(tmp_path: Path) -> None:
    """Points go to the folder of DB_PATH, and what has no effect is reported once, though the worker reads it too."""
    http_port, grpc_port = free_ports(2)
    environ = {
        "HTTP_PORT": str(http_port),
        "GRPC_ADDR": f"127.0.0.1:{grpc_port}",
        "NATS_SUBJECT": "data.raw",
        "DB_PATH": str(tmp_path / "data"),
        "S3_ACCESS_KEY": "AKIA",
        "S3_SECRET_KEY": "a-secret",
        "API_SECRET": SECRET,  # its HTTP server listened on every address
    }
    with process("serve", folder=tmp_path, environ=environ, until="worker ready") as (started, _):
        points = {"points": [{"timestamp_ms": 1_700_000_000_000, "value": 21.5}]}
        client = Client(f"http://127.0.0.1:{http_port}", started.pid)
        assert client.post("/v1/sensors/boiler/points", points).status_code == 200
        span = "start_ts=1600000000000&end_ts=1800000000000"
        answer = httpx.get(f"{client.base}/api/v1/export?sensor_id=boiler&{span}")
        assert answer.text.splitlines() == ["timestamp_ms,value,quality", "1700000000000,21.5,1"]
        log = "".join(path.read_text() for path in tmp_path.glob("serve-*.log"))
    assert f"gRPC at 127.0.0.1:{grpc_port}" in log
    assert log.count("S3_ACCESS_KEY and S3_SECRET_KEY") == log.count("NATS_SUBJECT") == 1
    assert "a-secret" not in log
    assert (tmp_path / "data" / "series.db").exists()


def test_the_public_secret_is_refused_once_other_machines_can_connect(tmp_path: Path) -> None:
    environ = {"DB_PATH": str(tmp_path / "data"), "GRPC_ADDR": "0.0.0.0:0"}
    with process("serve", "--port", "0", folder=tmp_path, environ=environ, until="listening on") as (started, line):
        client = Client(f"http://127.0.0.1:{line.rpartition(':')[2]}", started.pid, secret="devsecret")
        assert client.get("/v1/exports").status_code == 401
        [log] = tmp_path.glob("serve-*.log")
        assert log.read_text().count("no secret is configured and other machines can connect") == 1


def test_what_is_ignored_is_logged_in_the_form_of_the_log(tmp_path: Path) -> None:
    environ = {"DB_PATH": str(tmp_path / "data"), "NATS_SUBJECT": "data.raw"}
    with process("serve", "--port", "0", "--grpc-port", "0", folder=tmp_path, environ=environ, until="listening on"):
        [log] = tmp_path.glob("serve-*.log")
        [line] = [line for line in log.read_text().splitlines() if "NATS_SUBJECT" in line]
    assert json.loads(line)["level"] == "warning"


def test_several_faults_of_a_start_are_reported_together(tmp_path: Path) -> None:
    """Those of the configuration at once; then those of the machine: no source, a folder, a port in use."""
    serving, environ = ("serve", "--host", "127.0.0.1", "--grpc-port", "0"), {"DB_PATH": "d"}
    with process(*serving, "--port", "0", folder=tmp_path, environ=environ, until="listening on") as (_, line):
        taken = line.rpartition(":")[2]
        environ = {"FLUXPORT_SERVER__SPOOL__PATH": "/nowhere", "FLUXPORT_FLIGHT__PORT": taken}
        with pytest.raises(AssertionError) as caught:
            with process("serve", "--port", taken, folder=tmp_path, environ=environ, until="listening on"):
                pass
        required = {"DB_PATH": "e", "FLUXPORT_GRPC__TLS_REQUIRED": "true", "FLUXPORT_FLIGHT__PORT": taken}
        with pytest.raises(AssertionError, match=r"tls_required needs a certificate(.|\n)*for Arrow Flight"):
            with process(*serving, "--port", "0", folder=tmp_path, environ=required, until="listening on"):
                pass
    text = str(caught.value)
    for words in (
        "No database is configured",
        "server.spool.path",
        f"Cannot listen on 127.0.0.1:{taken}:",
        f"Cannot listen on 127.0.0.1:{taken} for Arrow Flight",
    ):
        assert words in text, text
