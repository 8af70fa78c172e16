"""The export middleware's YAML file is read unchanged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from fluxport.config import load
from fluxport.errors import Refused
from fluxport.middleware_config import is_middleware, translated
from fluxport.settings import Secret
from fluxport.sinks.oss import OssOptions

OLD = """
server: {port: 9191, max_connections: 100, timeout: 45s}
concurrency: {max_concurrent_tasks: 7, task_queue_size: 50, queue_timeout: 5m}
performance: {buffer_size: 10485760, max_batch_size: 1000}
storage: {temp_directory: /tmp/exports, temp_retention: 1h}
oss:
  endpoint: oss-eu-central-1.aliyuncs.com
  bucket: exports
  access_key_id: an-id
  access_key_secret: a-secret
  part_size: 10485760
  signed_url_expiry: 168h
  max_retries: 3
  parallel_parts: 5
  upload_timeout: 30m
security: {auth_enabled: false, tls_enabled: false, allowed_clients: [10.1.0.0/16, billing]}
logging: {level: WARN, format: console, output: stdout}
monitoring: {metrics_port: 8181}
"""


def old(**changed: object) -> dict[str, object]:
    return {**yaml.safe_load(OLD), **changed}


def test_every_key_is_ours_now_or_is_named_with_what_became_of_it() -> None:
    settings, reported = translated(old(), {})
    assert settings == {
        "grpc": {
            "host": "0.0.0.0",
            "port": 9191,
            "idle_s": "45s",
            "tasks_max": 7,
            "queue_max": 50,
            "queue_s": "5m",
            "batch_rows_max": 1000,
            "keyless": ["10.1.0.0/16"],
        },
        "stores": {
            "local": {
                "type": "oss",
                "endpoint": "https://oss-eu-central-1.aliyuncs.com",
                "bucket": "exports",
                "access_key_id": "an-id",
                "secret_access_key": "a-secret",
                "part_bytes": 10485760,
                "parts_at_once": 5,
                "link_s": "168h",
            }
        },
        "logging": {"level": "warning", "format": "text"},
        "server": {"port": 8181},
    }
    assert [sentence.split(":")[0] for sentence in reported] == [
        "server.max_connections",
        "performance.buffer_size",
        "storage.temp_directory",
        "storage.temp_retention",
        "oss.max_retries",
        "oss.upload_timeout",
        "logging.output",
        "security.allowed_clients",
    ]


def test_the_file_is_recognized_loaded_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    environ = {"LOG_LEVEL": "ERROR", "FLUXPORT_GRPC__QUEUE_MAX": "3", "OSS_ACCESS_KEY_SECRET": "from-outside"}
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path / "old.yaml", environ=environ, folder=tmp_path)
    assert (config.grpc.port, config.grpc.tasks_max, config.grpc.queue_max) == (9191, 7, 3)
    assert (config.grpc.queue_s, config.grpc.idle_s, config.server.port) == (300, 45, 8181)
    assert config.logging.level == "error"
    store = config.stores["local"]
    assert isinstance(store, OssOptions)
    assert (store.type, store.bucket, store.parts_at_once, store.link_s) == ("oss", "exports", 5, 7 * 86400)
    assert store.secret_access_key == Secret("from-outside")
    assert "storage.temp_directory" in caplog.text


def test_our_own_file_is_not_taken_for_one() -> None:
    assert not is_middleware({"server": {"port": 1}, "grpc": {}, "logging": {}, "stores": {}})


def test_without_authentication_and_networks_a_warning_says_that_keys_are_required() -> None:
    settings, reported = translated(old(security={"auth_enabled": False}), {})
    assert "keyless" not in settings["grpc"]
    assert any(sentence.startswith("security.auth_enabled") for sentence in reported)


def test_requested_tls_is_never_omitted() -> None:
    settings, _ = translated(old(security={"auth_enabled": True, "tls_enabled": True}), {})
    assert settings["grpc"]["tls_required"] is True


@pytest.mark.parametrize(
    "changed", [{"oss": {"bukket": "x"}}, {"security": {"auth": True}}, {"oss": "x"}, {"limits": {"rows_max": 1}}]
)
def test_a_key_that_the_middleware_never_had_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Refused):
        translated(old(**changed), {})


def test_the_variables_of_the_environment_stand_in_for_keys_of_oss() -> None:
    environ = {"OSS_BUCKET": "other", "OSS_ACCESS_KEY_SECRET": "from-outside", "OSS_ENDPOINT": ""}
    store = translated(old(), environ)[0]["stores"]["local"]
    assert (store["type"], store["bucket"], store["secret_access_key"]) == ("oss", "other", "from-outside")
    assert store["endpoint"] == "https://oss-eu-central-1.aliyuncs.com"
    store = translated({"monitoring": {}}, environ)[0]["stores"]["local"]
    assert (store["type"], store["bucket"]) == ("oss", "other")
