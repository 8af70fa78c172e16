"""Whatever a setting holds, the configuration is valid or is refused with sentences; nothing else is raised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from fluxport.config import Config, load
from fluxport.errors import Refused
from test_middleware_config import EXAMPLE

RUBBISH: list[Any] = [[1], {}, 5, "x", None, {1: 2}, [{}], True]
# Each makes the settings be compared with one another.
ENVIRONS: list[dict[str, str]] = [
    {},
    {"GRPC_ADDR": "localhost:50051", "DB_PATH": "data", "NATS_URL": "nats://h", "NATS_SUBJECT": "data.raw"},
    {"STORAGE_TYPE": "s3", "S3_BUCKET": "b", "AWS_REGION": "r", "MYSQL_DSN": "u@tcp(h)/d", "EMAIL_ATTACH_FILE": "1"},
]


def unexpected(folder: Path, content: Any) -> list[str]:
    """What is raised for this file that is no refusal, or a refusal without a sentence."""
    path, found = folder / "any.yaml", []
    path.write_text(yaml.safe_dump(content))
    for environ in ENVIRONS:
        try:
            load(path, environ=environ, folder=folder, report=lambda sentence: None)
        except Refused as refused:
            found += [line for line in refused.message.splitlines() if line[-1] not in ".?"]
        except Exception as error:  # noqa: BLE001  whichever it is
            found.append(f"{type(error).__name__}: {error} of {json.dumps(content, default=str)}")
    return found


def places(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (name,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, *more) for more in places(field.annotation))


@pytest.mark.parametrize("value", RUBBISH, ids=repr)
def test_every_key_of_the_middlewares_file(tmp_path: Path, value: Any) -> None:
    old = yaml.safe_load(EXAMPLE)
    files = [old | {section: value} for section in old]
    files += [old | {section: old[section] | {key: value}} for section in old for key in old[section]]
    assert [line for content in files for line in unexpected(tmp_path, content)] == []


@pytest.mark.parametrize("value", RUBBISH, ids=repr)
def test_every_key_of_ours(tmp_path: Path, value: Any) -> None:
    found = []
    for place in places(Config):
        content = value
        for part in reversed(place):
            content = {part: content}
        found += unexpected(tmp_path, content)
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "grpc: {store: [a]}",
        "grpc: {store: nowhere}\nstores: {1: {}, a: {}}",
        "grpc: {port: 1, addresses: 5}",
        "series: {connection: [a]}",
        "series: {connection: 1}\nconnections: {1: {url: a}, b: {}}",
        "stores: {local: {type: [a]}}",
        "stores: {local: {type: {}, x: 1}}",
        "connections: {main: 5}",
        "connections: {1: {}, a: {urll: x}}",
        "datasets: {d: 5}",
        "datasets: {1: {}, a: {connection: [x]}}",
        "schedules: {a: {cron: [1], export: [1]}}",
        "auth: {keys: {a: {secrets: 5, scopes: {}}, 1: 5}}",
        "app_env: production\nauth: {keys: [1]}",
    ],
)
def test_what_is_compared_with_other_settings_is_invalid_by_itself(tmp_path: Path, text: str) -> None:
    assert unexpected(tmp_path, yaml.safe_load(text)) == []
    (tmp_path / "fluxport.yaml").write_text(f"{text}\nlimits: {{workers: none}}")
    with pytest.raises(Refused) as refused:
        load(environ={}, folder=tmp_path)
    lines = refused.value.message.splitlines()
    assert [line for line in lines if "limits.workers" in line]
    assert [line for line in lines if "limits.workers" not in line]


def test_a_folder_of_the_historian_that_cannot_be_read_is_a_problem_beside_others(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        load(environ={"DB_PATH": "x" * 300, "WORKER_COUNT": "none"}, folder=tmp_path)
    lines = refused.value.message.splitlines()
    assert [line.split()[0] for line in lines] == ["The", "WORKER_COUNT"]
    assert "of DB_PATH cannot be read: File name too long." in lines[0]


@pytest.mark.parametrize(
    ("given", "keyless"), [("10.1.0.0/16", ["10.1.0.0/16"]), ([], None), (5, None), ({"a": 1}, None)]
)
def test_clients_of_the_middleware_are_a_list_or_one_entry(tmp_path: Path, given: Any, keyless: Any) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(EXAMPLE) | {"security": {"allowed_clients": given}}))
    if isinstance(given, str | list):
        config = load(path, environ={}, folder=tmp_path, report=lambda sentence: None)
        assert keyless is None or config.grpc.keyless == keyless
    else:
        with pytest.raises(Refused, match=r"'security\.allowed_clients' must be a list of networks"):
            load(path, environ={}, folder=tmp_path)
