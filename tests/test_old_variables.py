"""The variables of the replaced services: every spelling of their values that the old programs accepted."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxport import addresses
from fluxport.config import Config, load, shown
from fluxport.config_sources import ALIASES, DERIVED, sink_environment
from fluxport.errors import Refused
from fluxport.sinks.s3 import S3Options

# What strconv.ParseBool of Go takes, in which two of the old programs were written.
TRUE = ["1", "t", "T", "TRUE", "true", "True"]
FALSE = ["0", "f", "F", "FALSE", "false", "False"]


def loaded(folder: Path, **environ: str) -> Config:
    return load(environ=environ, folder=folder)


def refusal(folder: Path, **environ: str) -> list[str]:
    with pytest.raises(Refused) as caught:
        loaded(folder, **environ)
    return caught.value.message.splitlines()


def setting(config: Config, name: str) -> Any:
    found: Any = shown(config)
    for part in name.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize(
    ("variable", "name", "on", "off"),
    [
        ("COMPRESSION", "compression", "gzip", "none"),
        ("EMAIL_ATTACH_FILE", "email.attach", True, False),
        ("ENABLE_EXPORT_QUEUE", "export_queue.enabled", True, False),
        ("ENABLE_PERSIST_EXPORT", "export_queue.persist", True, False),
    ],
)
def test_a_switch_takes_every_word_for_true_and_false(
    tmp_path: Path, variable: str, name: str, on: object, off: object
) -> None:
    for words, expected in (([*TRUE, "yes", "YES", "on"], on), ([*FALSE, "no", "No", "off"], off)):
        for word in words:
            assert setting(loaded(tmp_path, **{variable: word}), name) == expected, word


def test_the_path_style_of_s3_takes_them_too(tmp_path: Path) -> None:
    for words, expected in ((TRUE, True), (FALSE, False)):
        for word in words:
            store = loaded(tmp_path, STORAGE_TYPE="S3", S3_BUCKET="b", S3_PATH_STYLE=word).stores["local"]
            assert isinstance(store, S3Options)
            assert store.path_style is expected, word


@pytest.mark.parametrize(("word", "expected"), [("gzip", "gzip"), ("zst", "zstd"), ("none", "none")])
def test_compression_also_takes_a_name(tmp_path: Path, word: str, expected: str) -> None:
    assert loaded(tmp_path, COMPRESSION=word).compression == expected


@pytest.mark.parametrize("text", ["compression: true", "compression: on", "compression: gzip"])
def test_compression_in_a_file_takes_the_same(tmp_path: Path, text: str) -> None:
    (tmp_path / "fluxport.yaml").write_text(text)
    assert loaded(tmp_path).compression == "gzip"


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (("DEBUG", "debug", "trace"), "debug"),
        (("info", "INFO"), "info"),
        (("WARN", "warn", "Warning"), "warning"),
        (("ERROR", "error"), "error"),
        (("FATAL", "fatal", "panic", "DPANIC", "critical"), "critical"),
    ],
)
def test_the_level_takes_the_words_of_their_loggers(tmp_path: Path, words: tuple[str, ...], level: str) -> None:
    for word in words:
        assert loaded(tmp_path, LOG_LEVEL=word).logging.level == level


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1h30m", 5400), ("500ms", 0.5), ("1.5h", 5400), (".5s", 0.5), ("2m3.5s", 123.5), ("250us", 250e-6)],
)
def test_a_timeout_takes_the_durations_of_go(tmp_path: Path, text: str, seconds: float) -> None:
    assert loaded(tmp_path, DEFAULT_TIMEOUT=text).limits.export_s == pytest.approx(seconds)


def test_words_are_taken_in_any_case(tmp_path: Path) -> None:
    assert loaded(tmp_path, STORAGE_TYPE="LOCAL").stores["local"].type == "local"
    for word, expected in (("Development", "development"), ("dev", "development"), ("Production", "production")):
        assert loaded(tmp_path, APP_ENV=word, API_SECRET=secrets.token_hex(32)).app_env == expected
    assert refusal(tmp_path, APP_ENV="PROD")[0].startswith("APP_ENV=production needs a secret")


def test_an_empty_variable_is_an_unset_one(tmp_path: Path) -> None:
    empty = dict.fromkeys([*ALIASES, *DERIVED, "S3_BUCKET", "S3_ENDPOINT", "S3_PATH_STYLE"], "")
    assert shown(loaded(tmp_path, **empty)) == shown(loaded(tmp_path))


@pytest.mark.parametrize(
    ("environ", "subject"),
    [
        ({"MAX_DB_CONCURRENCY": "0"}, "MAX_DB_CONCURRENCY=0"),
        ({"MAX_DB_CONCURRENCY": "-1", "MYSQL_DSN": "u@tcp(h)/d"}, "MAX_DB_CONCURRENCY=-1"),
        ({"WORKER_COUNT": "0"}, "WORKER_COUNT=0"),
        ({"SERVER_PORT": "99999"}, "SERVER_PORT=99999"),
        ({"HTTP_PORT": "99999"}, "HTTP_PORT=99999"),
        ({"DEFAULT_TIMEOUT": "0s"}, "DEFAULT_TIMEOUT=0s"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"COMPRESSION": "rar"}, "COMPRESSION"),
        ({"STORAGE_TYPE": "s3", "S3_BUCKET": "b", "S3_PATH_STYLE": "maybe"}, "S3_PATH_STYLE"),
        ({"STORAGE_TYPE": "s3"}, "STORAGE_TYPE"),
        ({"STORAGE_TYPE": "s4"}, "STORAGE_TYPE"),
        ({"S3_ACCESS_KEY": "AKIA", "STORAGE_TYPE": "s3", "S3_BUCKET": "b"}, "STORAGE_TYPE"),
        ({"GRPC_ADDR": "50051x"}, "GRPC_ADDR"),
        ({"NATS_URL": "http://h", "DB_PATH": "d"}, "NATS_URL"),
    ],
)
def test_an_invalid_value_is_reported_by_the_name_of_its_variable(
    tmp_path: Path, environ: dict[str, str], subject: str
) -> None:
    """And by its value, if that is a number; nothing else is reported."""
    [line] = refusal(tmp_path, **environ)
    assert line.startswith(f"{subject} "), line
    assert "url" not in line.lower() or "NATS" in line


def test_a_value_that_may_be_secret_is_not_repeated(tmp_path: Path) -> None:
    [line] = refusal(tmp_path, WORKER_COUNT="hunter2-secret")
    assert "hunter2" not in line


def test_a_limit_of_a_connection_without_one_is_ignored_with_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert loaded(tmp_path, MAX_DB_CONCURRENCY="3").connections == {}
    assert caplog.messages == ["MAX_DB_CONCURRENCY=3 is for the connection of MYSQL_DSN, which is not set."]
    assert loaded(tmp_path, MAX_DB_CONCURRENCY="3", MYSQL_DSN="u@tcp(h)/d").connections["main"].queries_max == 3


def test_all_problems_of_a_store_are_reported_at_once(tmp_path: Path) -> None:
    lines = refusal(tmp_path, STORAGE_TYPE="s3", S3_PATH_STYLE="maybe", FLUXPORT_STORES__LOCAL__PART_BYTES="1")
    assert len(lines) == 3
    assert "needs a 'bucket'" in lines[0]
    assert "S3_PATH_STYLE" in lines[1] + lines[2]


def test_all_problems_of_a_list_are_reported_at_once(tmp_path: Path) -> None:
    lists = {
        "FLUXPORT_EMAIL__DOMAINS": "[a b, example.com, c d]",
        "FLUXPORT_GRPC__KEYLESS": "[nowhere, 10.0.0.0/8, there]",
        "FLUXPORT_WEBHOOKS__SECRETS": "[x, y]",
        "FLUXPORT_AUTH__KEYS": "{a: {secrets: [s], scopes: [unknown, other]}}",
    }
    for variable, value in lists.items():
        assert len(refusal(tmp_path, **{variable: value})) == 2, variable


def test_all_contradictions_are_reported_at_once_and_beside_invalid_values(tmp_path: Path) -> None:
    (tmp_path / "fluxport.yaml").write_text(
        "grpc: {store: nowhere, tasks_max: 0}\n"
        "series: {connection: plant, nats: {url: 'nats://h'}}\n"
        "datasets: {d: {connection: shop, query: SELECT 1 AS a, scope: all, columns: {a: integer}}}\n"
    )
    text = "\n".join(refusal(tmp_path))
    for words in ("grpc.store", "grpc.tasks_max", "series.connection", "NATS and MQTT", "'shop'"):
        assert words in text


def test_everything_that_production_refuses_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "fluxport.yaml").write_text(
        "auth: {development_user: true, download_secret: short, keys: {a: {secrets: [short]}}}"
    )
    text = "\n".join(refusal(tmp_path, APP_ENV="production"))
    for words in ("development_user", "auth.download_secret is too weak", "auth.keys.a", "must not be one of the API"):
        assert words in text


def test_a_file_that_cannot_be_read_hides_no_problem_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "fluxport.yaml").write_text("connections: {main: [")
    (tmp_path / ".env").write_bytes(b"A=\xff")
    lines = refusal(tmp_path, WORKER_COUNT="0", FLUXPORT_CONNECTIONS__OTHER="{", FLUXPORT_GRPC__STORE="elsewhere")
    assert [line.split()[0] for line in lines] == ["The", "The", "The", "WORKER_COUNT=0"]


def test_files_of_windows_are_read(tmp_path: Path) -> None:
    """Their editors put a mark before the first name, and end lines in two characters."""
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfWORKER_COUNT=7\r\nLOG_LEVEL=WARN\r\n")
    (tmp_path / "fluxport.yaml").write_bytes(b"\xef\xbb\xbflimits: {queue_max: 5}\r\n")
    config = loaded(tmp_path)
    assert (config.limits.workers, config.logging.level, config.limits.queue_max) == (7, "warning", 5)


def test_a_section_without_settings_can_be_set_by_variables(tmp_path: Path) -> None:
    (tmp_path / "fluxport.yaml").write_text("limits:\n  # workers: 3\n")
    assert loaded(tmp_path, WORKER_COUNT="7").limits.workers == 7


# -- the Historian -----------------------------------------------------------------------------------------------------

HISTORIAN = {
    "HTTP_PORT": "8080",
    "GRPC_ADDR": "0.0.0.0:50051",
    "NATS_URL": "nats://localhost:4222",
    "NATS_SUBJECT": "data.raw",
    "DB_PATH": "data",
}


def test_the_variables_of_the_historian_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = loaded(tmp_path, **HISTORIAN)
    assert (config.server.host, config.server.port) == ("0.0.0.0", 8080)
    assert (config.grpc.host, config.grpc.port) == ("0.0.0.0", 50051)
    nats = config.series.nats
    assert nats.url is not None
    assert (nats.url.get_secret_value(), nats.subject) == ("nats://localhost:4222", "data.raw")
    assert nats.type == "application/x-protobuf"
    assert config.series.path == Path("data/series.db")
    assert caplog.messages == []


def test_the_historians_subject_and_form_are_those_of_its_server(tmp_path: Path) -> None:
    given = {"NATS_URL": "nats://localhost:4222", "DB_PATH": "data"}
    usual = loaded(tmp_path, **given).series.nats
    assert (usual.subject, usual.type) == ("data.raw", None)
    other = loaded(tmp_path, **given, NATS_SUBJECT="plant.raw").series.nats
    assert (other.subject, other.type) == ("plant.raw", "application/x-protobuf")
    ours = loaded(tmp_path, **given, FLUXPORT_SERIES__NATS__SUBJECT="sensors.>").series.nats
    assert (ours.subject, ours.type) == ("sensors.>", None)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [(":50051", "0.0.0.0", 50051), ("[::]:50052", "::", 50052), ("localhost:50051", "localhost", 50051)],
)
def test_the_forms_of_an_address_of_go(tmp_path: Path, address: str, host: str, port: int) -> None:
    config = loaded(tmp_path, GRPC_ADDR=address)
    assert (config.grpc.host, config.grpc.port) == (host, port)
    assert config.server.host == ("::" if host == "::" else "0.0.0.0")  # its HTTP server listened on every address


def test_an_address_and_a_folder_set_only_what_nothing_else_sets(tmp_path: Path) -> None:
    environ = HISTORIAN | {"FLUXPORT_GRPC__PORT": "9090", "FLUXPORT_SERIES__PATH": "s.db", "SERVER_PORT": "8081"}
    config = load(environ=environ, folder=tmp_path, flags={"server.host": "127.0.0.1"})
    assert (config.grpc.host, config.grpc.port, config.grpc.addresses) == ("0.0.0.0", 9090, ["0.0.0.0:50051"])
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8081)
    assert config.series.path == Path("s.db")


@pytest.mark.parametrize("variable", ["HTTP_PORT", "DB_PATH", "NATS_SUBJECT"])
def test_a_variable_that_only_the_historian_had_makes_both_servers_listen_where_its_did(
    tmp_path: Path, variable: str
) -> None:
    config = loaded(tmp_path, **{variable: HISTORIAN[variable]})
    assert (config.server.host, config.grpc.host, config.grpc.port) == ("0.0.0.0", "0.0.0.0", 50051)
    assert config.grpc.addresses == []
    (tmp_path / "fluxport.yaml").write_text("server: {host: '::1', port: 1}\ngrpc: {host: localhost, port: 2}")
    config = loaded(tmp_path, **{variable: HISTORIAN[variable]})
    assert (config.server.host, config.server.port) == ("::1", 1)
    assert (config.grpc.host, config.grpc.port, config.grpc.addresses) == ("localhost", 2, [])


def test_the_port_of_http_in_the_environment_may_be_another_programs(tmp_path: Path) -> None:
    """So it overrides nothing, unlike SERVER_PORT."""
    (tmp_path / "fluxport.yaml").write_text("server: {port: 8081}")
    assert loaded(tmp_path, HTTP_PORT="1234").server.port == 8081
    assert loaded(tmp_path, HTTP_PORT="1234", SERVER_PORT="4321").server.port == 4321


def test_a_server_of_nats_that_may_be_another_programs_is_ignored_with_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a place for points; and it alone changes no address."""
    url = {"NATS_URL": "nats://localhost:4222"}
    config = loaded(tmp_path, **url)
    assert config.series == loaded(tmp_path).series
    assert (config.server.host, config.grpc.host, config.grpc.port) == ("127.0.0.1", None, None)
    loaded(tmp_path, **url, NATS_SUBJECT="plant.raw")
    assert caplog.messages == [
        "NATS_URL: points are read only with DB_PATH or series.path.",
        "NATS_URL and NATS_SUBJECT: points are read only with DB_PATH or series.path.",
    ]
    [line] = refusal(tmp_path, FLUXPORT_SERIES__NATS__URL="nats://localhost:4222")
    assert "series.path" in line


def test_files_of_the_old_engine_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "MANIFEST").touch()
    loaded(tmp_path, DB_PATH=str(tmp_path))
    [message] = caplog.messages
    assert "the Historian's own; points are stored beside them, in series.db" in message


def test_keys_of_s3_are_those_of_the_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = {"S3_ACCESS_KEY": "AKIA", "S3_SECRET_KEY": "a-secret"}
    (tmp_path / "fluxport.yaml").write_text("stores: {local: {type: s3, bucket: b}}")
    for environ in ({"STORAGE_TYPE": "s3", "S3_BUCKET": "b"}, {}):
        store = loaded(tmp_path, **keys, **environ).stores["local"]
        assert isinstance(store, S3Options)
        assert store.secret_access_key is not None
        assert (store.access_key_id, store.secret_access_key.value) == ("AKIA", "a-secret")
    assert caplog.messages == []
    (tmp_path / "fluxport.yaml").unlink()
    loaded(tmp_path, **keys, NATS_SUBJECT="data.raw")
    assert caplog.messages == [
        "NATS_SUBJECT has no effect without NATS_URL; "
        "S3_ACCESS_KEY and S3_SECRET_KEY: only a store of STORAGE_TYPE=s3 uses them."
    ]


@pytest.mark.parametrize(
    ("file", "ambient", "own"),
    [
        (
            {"type": "s3", "bucket": "b", "region": "eu-1", "access_key_id": "k", "secret_access_key": "s"},
            {"AWS_REGION": "us-9"},
            {"S3_BUCKET": "other"},
        ),
        ({"type": "gcs", "bucket": "b", "credentials_file": "a.json"}, {"GOOGLE_APPLICATION_CREDENTIALS": "x"}, {}),
        (
            {"type": "azure", "bucket": "b", "account": "a", "account_key": "Zg=="},
            {"AZURE_STORAGE_ACCOUNT": "x", "AZURE_STORAGE_KEY": "eA==", "AZURE_STORAGE_CONTAINER": "x"},
            {},
        ),
        ({"type": "oss", "bucket": "b", "endpoint": "e", "region": "r"}, {}, {"OSS_BUCKET": "other"}),
    ],
)
def test_a_store_of_the_file_is_changed_only_by_variables_of_the_replaced_services(
    tmp_path: Path, file: dict[str, str], ambient: dict[str, str], own: dict[str, str]
) -> None:
    """Others, of the cloud's own tools, set what the file leaves out, or a store whose type is a variable."""

    def store(settings: dict[str, str], **environ: str) -> Any:
        (tmp_path / "fluxport.yaml").write_text(yaml.safe_dump({"stores": {"local": settings}}))
        return shown(loaded(tmp_path, **environ))["stores"]["local"]

    variables = sink_environment(file["type"])
    assert store(file, **ambient) == store(file)
    for name, value in own.items():
        assert store(file, **{name: value})[variables[name]] == value
    for name, value in ambient.items():
        left = {key: given for key, given in file.items() if key != variables[name]}
        assert store(left, **ambient)[variables[name]] not in (None, ""), name
        named = store(file, **{name: value}, STORAGE_TYPE=file["type"])[variables[name]]
        assert named in (value, "**********"), name


def test_an_empty_variable_does_not_hide_the_one_in_the_file(tmp_path: Path) -> None:
    """Of every kind: those that are settings, and those from which settings follow."""
    content = HISTORIAN | {"EMAIL_ATTACH_FILE": "true", "STORAGE_TYPE": "s3", "S3_BUCKET": "b", "WORKER_COUNT": "3"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in content.items()))
    assert shown(loaded(tmp_path, **dict.fromkeys(content, ""))) == shown(loaded(tmp_path))
    assert loaded(tmp_path).series.path == Path("data/series.db")


def test_a_folder_with_the_name_of_the_variables_file_is_ignored(tmp_path: Path) -> None:
    """As a virtual environment may have."""
    (tmp_path / ".env").mkdir()
    assert loaded(tmp_path, WORKER_COUNT="3").limits.workers == 3


def test_a_connection_without_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fluxport.yaml").write_text("connections: {main: {}}")
    assert refusal(tmp_path) == ["Setting 'connections.main.url' is invalid: field required."]


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_the_public_secret_is_valid_only_where_no_other_machine_can_connect(tmp_path: Path) -> None:
    for host, expected in (("127.0.0.1", {"default"}), ("localhost", {"default"}), ("::1", {"default"}),
                           ("0.0.0.0", set()), ("::", set()), ("10.0.0.7", set())):  # fmt: skip
        config = load(environ={}, folder=tmp_path, flags={"server.host": host})
        assert set(addresses.signing_keys(config)) == expected
    named = load(environ={"API_SECRET": "devsecret"}, folder=tmp_path, flags={"server.host": "0.0.0.0"})
    assert set(addresses.signing_keys(named)) == {"default"}


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
