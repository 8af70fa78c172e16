"""The export middleware's YAML file is read unchanged."""

from __future__ import annotations

import logging
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxport.config import load
from fluxport.errors import Refused
from fluxport.middleware_config import is_middleware, translated
from fluxport.settings import Secret
from fluxport.sinks.oss import OssOptions

# Every key of its example, with the example's values.
EXAMPLE = """
server: {port: 9090, status_port: 9091, max_connections: 100, timeout: 30s}
concurrency: {max_concurrent_tasks: 10, task_queue_size: 100, queue_timeout: 5m}
performance: {buffer_size: 10485760, max_batch_size: 1000, write_timeout: 30s}
storage: {temp_directory: /tmp/export-middleware, temp_retention: 1h, cleanup_enabled: true}
oss:
  endpoint: oss-cn-hangzhou.aliyuncs.com
  bucket: my-export-bucket
  access_key_id: YOUR_ACCESS_KEY_ID
  access_key_secret: YOUR_ACCESS_KEY_SECRET
  part_size: 10485760
  signed_url_expiry: 168h
  max_retries: 3
  parallel_parts: 5
  upload_timeout: 30m
security: {auth_enabled: false, tls_enabled: false, allowed_clients: []}
logging: {level: info, format: json, output: stdout, enable_tracing: false}
monitoring: {metrics_port: 8080, health_check_interval: 30s}
"""
WITHOUT_MEANING = [
    "server.status_port",
    "server.max_connections",
    "performance.max_batch_size",
    "performance.write_timeout",
    "storage.temp_directory",
    "storage.temp_retention",
    "storage.cleanup_enabled",
    "logging.output",
    "monitoring.health_check_interval",
    "security.auth_enabled",
]


def old(**changed: object) -> dict[str, Any]:
    return {**yaml.safe_load(EXAMPLE), **changed}


def keys_of(sentences: list[str]) -> list[str]:
    return [sentence.split(":")[0] for sentence in sentences]


def write(folder: Path, **changed: object) -> Path:
    path = folder / "old.yaml"
    path.write_text(yaml.safe_dump(old(**changed)))
    return path


def test_every_key_of_the_example_is_a_setting_or_is_named_with_the_reason() -> None:
    done = translated(old())
    assert done.settings == {
        "grpc": {
            "host": "0.0.0.0",
            "answers": "final",
            "batch_rows_max": 10_000_000,
            "port": 9090,
            "idle_s": "30s",
            "tasks_max": 10,
            "queue_max": 100,
            "queue_s": "5m",
            "message_max_bytes": 10485760,
            "keyless": ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"],
        },
        "server": {"host": "0.0.0.0", "port": 8080, "metrics": "on"},
        "telemetry": {"traces": "off"},
        "limits": {"export_s": "30m"},
        "stores": {
            "local": {
                "type": "oss",
                "endpoint": "https://oss-cn-hangzhou.aliyuncs.com",
                "bucket": "my-export-bucket",
                "access_key_id": "YOUR_ACCESS_KEY_ID",
                "secret_access_key": "YOUR_ACCESS_KEY_SECRET",
                "part_bytes": 10485760,
                "parts_at_once": 5,
                "link_s": "168h",
                "tries_max": 4,  # a first one and three retries
            }
        },
        "logging": {"level": "info", "format": "json"},
    }
    assert keys_of(done.ignored) == WITHOUT_MEANING
    assert done.problems == []


def test_the_example_is_loaded_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load(write(tmp_path), environ={}, folder=tmp_path)
    [record] = caplog.records
    assert [key for key in WITHOUT_MEANING if key not in record.getMessage()] == []
    assert (config.server.host, config.server.port, config.server.metrics) == ("0.0.0.0", 8080, "on")
    assert (config.grpc.host, config.grpc.port, config.grpc.message_max_bytes) == ("0.0.0.0", 9090, 10 << 20)


def test_the_file_is_recognized_and_the_environment_overrides_it(tmp_path: Path) -> None:
    path = write(tmp_path, concurrency={"max_concurrent_tasks": 7, "task_queue_size": 50, "queue_timeout": "5m"})
    environ = {
        "LOG_LEVEL": "ERROR",
        "FLUXPORT_GRPC__QUEUE_MAX": "3",
        "OSS_BUCKET": "other",
        "OSS_ACCESS_KEY_SECRET": "from-outside",
        "OSS_ENDPOINT": "",
    }
    config = load(path, environ=environ, folder=tmp_path)
    assert (config.grpc.port, config.grpc.tasks_max, config.grpc.queue_max) == (9090, 7, 3)
    assert (config.grpc.queue_s, config.grpc.idle_s, config.logging.level) == (300, 30, "error")
    store = config.stores["local"]
    assert isinstance(store, OssOptions)
    assert (store.bucket, store.parts_at_once, store.link_s, store.tries_max) == ("other", 5, 7 * 86400, 4)
    assert store.secret_access_key == Secret("from-outside")
    assert store.endpoint == "https://oss-cn-hangzhou.aliyuncs.com"


def test_the_environment_stands_in_for_a_missing_section_oss(tmp_path: Path) -> None:
    environ = {"OSS_BUCKET": "other", "OSS_ENDPOINT": "oss-cn-hangzhou.aliyuncs.com"}
    store = load(write(tmp_path, oss=None), environ=environ, folder=tmp_path).stores["local"]
    assert isinstance(store, OssOptions)
    assert store.bucket == "other"


@pytest.mark.parametrize(
    ("word", "level"),
    [("fatal", "critical"), ("WARN", "warning"), ("Debug", "debug"), ("error", "error"), ("trace", "debug")],
)
def test_the_levels_of_its_logger_are_ours(tmp_path: Path, word: str, level: str) -> None:
    path = write(tmp_path, logging={"level": word})
    assert load(path, environ={}, folder=tmp_path).logging.level == level


@pytest.mark.parametrize(
    ("given", "export_s"), [("60s", 900), ("15m", 900), (30, 900), ("30m", 1800), (3600, 3600), (None, 900)]
)
def test_the_time_of_an_upload_only_raises_that_of_an_export(
    tmp_path: Path, given: str | int | None, export_s: float
) -> None:
    """In which the client sends the rows; a time that does not raise it is reported."""
    told: list[str] = []
    path = write(tmp_path, oss={**old()["oss"], "upload_timeout": given})
    assert load(path, environ={}, folder=tmp_path, report=told.append).limits.export_s == export_s
    assert ("oss.upload_timeout" in told[0]) is (given is not None and export_s == 900)


def test_our_own_file_is_not_taken_for_one() -> None:
    assert not is_middleware({"server": {"port": 1}, "grpc": {}, "logging": {}, "stores": {}})


def test_networks_of_clients_need_no_key_and_other_names_are_reported() -> None:
    done = translated(old(security={"allowed_clients": ["10.1.0.0/16", "billing"]}))
    assert done.settings["grpc"]["keyless"] == ["10.1.0.0/16"]
    assert [sentence for sentence in done.ignored if "billing" in sentence]
    assert "security.auth_enabled" not in keys_of(done.ignored)
    assert "keyless" not in translated(old(security={"allowed_clients": ["billing"]})).settings["grpc"]


def test_without_authentication_only_private_networks_need_no_key(tmp_path: Path) -> None:
    keyless = [ip_network(word) for word in load(write(tmp_path), environ={}, folder=tmp_path).grpc.keyless]
    for address, admitted in (
        ("127.0.0.1", True),
        ("172.18.0.3", True),
        ("::1", True),
        ("203.0.113.9", False),
        ("2001:db8::1", False),
    ):
        assert any(ip_address(address) in network for network in keyless) is admitted, address
    assert load(write(tmp_path, security={"auth_enabled": True}), environ={}, folder=tmp_path).grpc.keyless == []


def test_requested_tls_is_never_omitted() -> None:
    done = translated(old(security={"auth_enabled": True, "tls_enabled": True}))
    assert done.settings["grpc"]["tls_required"] is True


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"oss": {"bukket": "x"}}, "Unknown setting 'oss.bukket'"),
        ({"security": {"auth": True}}, "Unknown setting 'security.auth'"),
        ({"oss": "x"}, "Setting 'oss' must be a section"),
        ({"limits": {"rows_max": 1}}, "Unknown setting 'limits.rows_max'"),
    ],
)
def test_a_key_that_the_middleware_never_had_is_a_problem(changed: dict[str, object], sentence: str) -> None:
    [problem] = translated(old(**changed)).problems
    assert sentence in problem


def test_all_problems_of_all_sources_are_reported_at_once(tmp_path: Path) -> None:
    """Those of values by the name that the operator wrote."""
    path = write(
        tmp_path,
        oss={"bukket": "x", "bucket": "b", "endpoint": "e"},
        performance={"buffer_size": 10 << 30, "more": 1},
        server={"port": 70000, "hots": 1},
    )
    (tmp_path / ".env").write_text("WORKER_COUNT=none\n")
    environ = {"DEFAULT_TIMEOUT": "soon", "FLUXPORT_LIMITS__ROWZ": "1", "FLUXPORT_STORES__LOCAL": "{"}
    with pytest.raises(Refused) as caught:
        load(path, environ=environ | {"APP_ENV": "production"}, folder=tmp_path)
    lines = caught.value.message.splitlines()
    for words in (
        "'oss.bukket'",
        "'performance.more'",
        "'server.hots'",
        "performance.buffer_size",
        "server.port",
        "WORKER_COUNT",
        "DEFAULT_TIMEOUT",
        "'limits.rowz'",
        "FLUXPORT_STORES__LOCAL",
        "APP_ENV=production needs a secret",
    ):
        assert len([line for line in lines if words in line]) == 1, (words, lines)
    assert len(lines) == 10
