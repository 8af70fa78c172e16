"""A replacement of the export middleware: its YAML file, its objects in OSS, its signed URLs."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from fluxport.grpc import export_pb2 as pb
from grpc_support import ROW, GrpcApi, batch, grpc_api, metadata, people
from object_double import ObjectDouble
from own_servers import free_ports
from store_support import BUCKET, OSS_KEY, OSS_REGION, OSS_SECRET, oss_double

PARTS_BYTES = 5 << 20


@pytest.fixture(scope="module")
def oss() -> Iterator[ObjectDouble]:
    with oss_double().running() as double:
        yield double


@pytest.fixture(scope="module")
def shop(oss: ObjectDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    folder = tmp_path_factory.mktemp("middleware")
    grpc_port, http_port = free_ports(2)
    old: dict[str, Any] = {
        "server": {"port": grpc_port, "status_port": 9091, "max_connections": 100, "timeout": "30s"},
        "concurrency": {"max_concurrent_tasks": 10, "task_queue_size": 100, "queue_timeout": "5m"},
        "performance": {"buffer_size": 10485760, "max_batch_size": 1000, "write_timeout": "30s"},
        "storage": {"temp_directory": "/tmp/exports", "temp_retention": "1h", "cleanup_enabled": True},
        "oss": {
            "endpoint": oss.endpoint,
            "bucket": BUCKET,
            "part_size": PARTS_BYTES,
            "signed_url_expiry": "168h",
            "max_retries": 3,
            "parallel_parts": 5,
            "upload_timeout": "30m",
        },
        "security": {"auth_enabled": False, "tls_enabled": False, "allowed_clients": []},
        "logging": {"level": "info", "format": "json", "output": "stdout", "enable_tracing": False},
        "monitoring": {"metrics_port": http_port, "health_check_interval": "30s"},
    }
    (folder / "old.yaml").write_text(yaml.safe_dump(old))
    # The region is part of the names of the clouds' own endpoints, which this one is not.
    outside = {
        "OSS_ACCESS_KEY_ID": OSS_KEY,
        "OSS_ACCESS_KEY_SECRET": OSS_SECRET,
        "FLUXPORT_STORES__LOCAL__REGION": OSS_REGION,
    }
    with grpc_api(folder, "--config", "old.yaml", port=str(http_port), **outside) as found:
        assert found.target == f"0.0.0.0:{grpc_port}"
        assert found.http.base == f"http://0.0.0.0:{http_port}"
        found.target = f"127.0.0.1:{grpc_port}"
        yield found


def test_a_push_ends_in_oss_with_a_signed_url_that_works(shop: GrpcApi, oss: ObjectDouble) -> None:
    """A large one in parts, with one response; the URL is the store's presigned one, and no log has it."""
    done = shop.push([metadata(), *people(200_000)], key="")
    (answer,) = done.answers
    assert answer.status == pb.TASK_STATUS_COMPLETED, done.details
    (key,) = [key for key in oss.objects if answer.task_id in key]
    day = time.strftime("%Y/%m/%d", time.gmtime(answer.start_time))
    assert re.fullmatch(rf"exports/{day}/{answer.task_id}_\d{{8}}-\d{{6}}_people\.csv", key)
    assert answer.oss_url.startswith(oss.endpoint)
    content = httpx.get(answer.oss_url).raise_for_status().content
    assert len(content) == answer.file_size_bytes > PARTS_BYTES
    assert hashlib.sha256(content).hexdigest() == answer.checksum_sha256
    assert content.count(b"\n") == answer.record_count + 1
    logs = "".join(path.read_text() for path in shop.folder.glob("serve-*.log"))
    assert logs.count("storage.temp_directory: there are no temporary files") == 1
    assert OSS_SECRET not in logs
    assert "ignature=" not in logs


def test_what_fails_leaves_no_object_and_no_part_of_one(shop: GrpcApi, oss: ObjectDouble) -> None:
    before = set(oss.objects)
    wrong = [metadata(), *people(200_000), batch(201, ROW[:1])]
    done = shop.push(wrong, key="")
    assert done.word == "VALIDATION_ERROR"
    assert "Row 200,001 has 1 values" in done.details
    assert set(oss.objects) == before
    assert not oss.uploads


def test_a_batch_may_have_more_rows_than_the_old_file_said(shop: GrpcApi) -> None:
    """``max_batch_size`` limited nothing there."""
    for count in (1_001, 100_000):
        assert shop.push([metadata(), batch(1, *[ROW] * count)], key="").last.record_count == count


def test_a_message_may_be_as_large_as_the_old_file_says(shop: GrpcApi) -> None:
    """``buffer_size``, 10 MiB, was the largest message."""
    row = ("1", "x" * (1 << 20), *ROW[2:])
    for megabytes, code in ((5, "OK"), (11, "RESOURCE_EXHAUSTED")):
        done = shop.push([metadata(), batch(1, *[row] * megabytes)], key="")
        assert done.code.name == code, done.details


def test_health_and_metrics_are_for_everyone_who_reaches_the_port(shop: GrpcApi) -> None:
    """As there: through the address by which other machines come, too."""
    address = socket.gethostbyname(socket.gethostname())
    base = f"http://{address}:{shop.http.port}"
    assert httpx.get(f"{base}/health/live").status_code == 200
    assert "export_active_tasks" in httpx.get(f"{base}/metrics").text
