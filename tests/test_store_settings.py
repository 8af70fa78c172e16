"""Stores in the configuration and the environment, and the origin of credentials."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import store_support as stores
from azurite_server import ACCOUNT, KEY, Azurite
from fluxport.config import SINK, Config, load, schema, shown
from fluxport.errors import Refused, Unavailable
from fluxport.settings import Secret
from fluxport.sinks import SINKS, options_class, sink
from fluxport.sinks.azure import AzureApi, AzureOptions, AzureSink, DelegationKey
from fluxport.sinks.object_options import ObjectOptions
from fluxport.sinks.oss import OssOptions, OssSink
from fluxport.sinks.s3 import S3Options, S3Sink
from fluxport.sinks.urls import at_url
from fluxport.stages import About
from own_certificates import make_certificates
from own_servers import http_server
from store_support import OSS_KEY, OSS_REGION, OSS_SECRET, azure_options, oss_options


def loaded(folder: Path, **environ: str) -> Config:
    return load(environ=environ, folder=folder)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"type": "local", "path": "exports"}),
        ({"STORAGE_TYPE": "local", "AWS_REGION": "eu-west-1"}, {"type": "local"}),
        (
            {"STORAGE_TYPE": "S3", "S3_BUCKET": "b", "S3_ENDPOINT": "http://minio:9000", "S3_PATH_STYLE": "true",
             "AWS_REGION": "eu-west-1"},
            {"type": "s3", "bucket": "b", "endpoint": "http://minio:9000", "path_style": True, "region": "eu-west-1"},
        ),
        (
            {"OSS_BUCKET": "b", "OSS_ENDPOINT": "oss-cn-hangzhou.aliyuncs.com", "OSS_ACCESS_KEY_ID": "id",
             "OSS_ACCESS_KEY_SECRET": "secret"},
            {"type": "oss", "bucket": "b", "endpoint": "oss-cn-hangzhou.aliyuncs.com", "access_key_id": "id"},
        ),
        ({"STORAGE_TYPE": "gcs", "GCS_BUCKET": "b"}, {"type": "gcs", "bucket": "b"}),
        ({"STORAGE_TYPE": "azure", "AZURE_STORAGE_CONTAINER": "c", "AZURE_STORAGE_ACCOUNT": "a"},
         {"type": "azure", "bucket": "c", "account": "a"}),
    ],
    ids=["nothing", "local", "s3", "oss", "gcs", "azure"],
)  # fmt: skip
def test_the_old_names_configure_the_default_store(
    tmp_path: Path, environ: dict[str, str], expected: dict[str, Any]
) -> None:
    """Each replaced system had its own names; those of another type are ignored."""
    entry = shown(loaded(tmp_path, **environ))["stores"]["local"]
    assert {name: entry[name] for name in expected} == expected


def test_names_in_a_file_and_in_the_environment_go_together(tmp_path: Path) -> None:
    """The type may be in .env and the bucket in the environment."""
    (tmp_path / ".env").write_text("STORAGE_TYPE=s3\nS3_ENDPOINT=http://a:1\n")
    entry = loaded(tmp_path, S3_BUCKET="b").stores["local"]
    assert isinstance(entry, S3Options)
    assert (entry.type, entry.bucket, entry.endpoint) == ("s3", "b", "http://a:1")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"type": "s3"}, "needs a 'bucket'"),
        ({"type": "azure", "bucket": "c"}, "needs an 'account'"),
        ({"type": "oss", "bucket": "b"}, "needs an 'endpoint' or a 'region'"),
        ({"type": "sftp"}, "needs a 'host', a 'user' and a 'path'"),
        ({"type": "s3", "bucket": "b", "access_key_id": "a"}, "must be given together"),
        ({"type": "s3", "bucket": "b", "bukket": "x"}, "did you mean 'bucket'"),
    ],
)
def test_missing_settings_of_a_store_are_reported(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    (tmp_path / "fluxport.yaml").write_text(json.dumps({"stores": {"local": given}}))
    with pytest.raises(Refused) as caught:
        loaded(tmp_path)
    assert sentence in caught.value.message


def test_a_setting_of_another_type_is_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An older file may have one; variables of other types in the environment cause no warning."""
    given = {"type": "s3", "bucket": "b", "port": 22, "free_bytes_min": 1}
    (tmp_path / "fluxport.yaml").write_text(json.dumps({"stores": {"local": given}}))
    config = loaded(tmp_path, LOCAL_STORAGE_PATH="/somewhere", FLUXPORT_STORES__LOCAL__HOST="h")
    shown_store = shown(config)["stores"]["local"]
    assert shown_store["bucket"] == "b"
    assert not {"port", "free_bytes_min", "path", "host"} & set(shown_store)
    assert [record.getMessage() for record in caplog.records] == [
        "stores.local.free_bytes_min is ignored: a store of type s3 has no such setting; "
        "stores.local.port is ignored: a store of type s3 has no such setting.",
    ]


def test_the_schema_has_the_settings_of_every_type() -> None:
    """It lets an editor complete the file."""
    described = schema()
    kinds = {one["properties"]["type"]["const"]: one for one in described["properties"]["stores"]
             ["additionalProperties"]["oneOf"]}  # fmt: skip
    assert set(kinds) == set(SINKS)
    assert "host" in kinds["sftp"]["required"]
    assert "host" not in kinds["s3"]["properties"]
    assert kinds["s3"]["additionalProperties"] is False
    assert kinds["s3"]["properties"]["part_bytes"]["minimum"] == 5 << 20


def test_the_row_of_a_sink_is_true() -> None:
    """Its settings have its name, its extra exists, and no URL scheme or variable belongs to two types."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    schemes = [scheme for entry in SINKS.built_in.values() for scheme in entry.schemes]
    assert len(schemes) == len(set(schemes))
    assert {entry.extra for entry in SINKS.built_in.values() if entry.extra} <= set(project["optional-dependencies"])
    for name, entry in SINKS.built_in.items():
        fields = {field.name: field for field in dataclasses.fields(options_class(name))}
        assert fields["type"].default == name
        assert set(options_class(name).environ.values()) <= set(fields)
        assert all(field.metadata["description"] for field in fields.values() if field.name != "type")
        assert not entry.schemes or issubclass(options_class(name), ObjectOptions)


def test_settings_are_read_without_the_clouds_libraries() -> None:
    """Nor does a command that reads no configuration load pydantic for its sink."""
    program = """
import sys
from fluxport.sinks import SINKS, options_class
for name in SINKS.built_in:
    options_class(name)
heavy = {"pydantic", "botocore", "google", "azure", "paramiko"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_secrets_of_stores_are_masked(tmp_path: Path) -> None:
    config = loaded(tmp_path, STORAGE_TYPE="oss", OSS_BUCKET="b", OSS_REGION="r", OSS_ACCESS_KEY_ID="id",
                    OSS_ACCESS_KEY_SECRET="very-secret")  # fmt: skip
    assert "very-secret" not in json.dumps(shown(config)) + repr(config)


def test_every_type_makes_its_sink_without_reaching_anything(tmp_path: Path) -> None:
    """Nothing is sent over the network before a file is stored."""
    given = {
        "local": {"path": str(tmp_path / "files")},
        "m": {"type": "memory"},
        "s": {"type": "s3", "bucket": "bucket"},
        "o": {"type": "oss", "bucket": "bucket", "region": "cn-hangzhou"},
        "g": {"type": "gcs", "bucket": "bucket"},
        "a": {"type": "azure", "bucket": "bucket", "account": "account"},
        "f": {"type": "sftp", "host": "files.example.com", "user": "exports", "path": "/in"},
        "w": {"type": "webdav", "url": "https://cloud.example.com/dav/in"},
    }
    config = Config.model_validate({"stores": given})
    assert {entry.type for entry in config.stores.values()} == set(SINKS)
    for entry in config.stores.values():
        sink(entry)


@pytest.mark.parametrize("url", ["s3://", "s3://b", "s3://b/", "s3://b/k?x=1", "ftp://b/k", "b/k"])
def test_urls_that_name_no_object_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        at_url(url, Config().stores)


def test_a_bucket_of_the_configuration_lends_its_settings() -> None:
    known = {"stores": {"local": {}, "a": {"type": "s3", "bucket": "b", "endpoint": "http://h:1", "prefix": "p/"}}}
    entry, key = at_url("s3://b/folder/file.csv", Config.model_validate(known).stores)
    assert isinstance(entry, ObjectOptions)
    assert (entry.endpoint, entry.prefix, key) == ("http://h:1", "", "folder/file.csv")


# -- S3 ------------------------------------------------------------------------------------------------------------


def s3_url(entry: dict[str, Any], expires_s: float = 1e9, **environ: str) -> tuple[str, float]:
    found = sink(SINK.read({"type": "s3", "bucket": "bucket", **entry}), environ=environ)
    signed = found.url("file.csv", expires_s)
    assert signed is not None
    return signed.url, signed.expires_s


def test_signed_urls_work_seven_days_at_most() -> None:
    """S3 refuses more; the reported time is the actual one."""
    keys = {"access_key_id": "AKIA", "secret_access_key": "secret"}
    url, works_s = s3_url(keys)
    assert works_s == 604_800
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["604800"]
    assert urlsplit(url).netloc == "bucket.s3.us-east-1.amazonaws.com"
    assert urlsplit(s3_url(keys | {"endpoint": "https://s3.corp:9000"})[0]).path == "/bucket/exports/file.csv"
    public = s3_url(keys | {"endpoint": "http://minio:9000", "public_endpoint": "https://files.example.com"})[0]
    assert public.startswith("https://files.example.com/bucket/")


def test_a_bucket_with_a_dot_is_addressed_by_path_at_amazon() -> None:
    """No certificate covers its name as a host."""
    keys = {"access_key_id": "AKIA", "secret_access_key": "secret", "bucket": "my.bucket", "region": "eu-west-1"}
    assert s3_url(keys)[0].startswith("https://s3.eu-west-1.amazonaws.com/my.bucket/exports/file.csv?")


def test_credentials_of_a_profile_are_read_by_amazons_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[exports]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    url, _ = s3_url({"profile": "exports"})
    assert "AKIAPROFILE" in url


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[str]:
    """A metadata service with these paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(answers.get(self.path))

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(answers.get(f"PUT {self.path}"))

        def _answer(self, found: Any) -> None:
            content = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None: ...

    with http_server(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_role_of_the_container_signs_urls_no_longer_than_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its credentials end within the hour, and every URL with them: that time is reported."""
    until = datetime.now(UTC) + timedelta(hours=1)
    role = {
        "AccessKeyId": "ASIAROLE",
        "SecretAccessKey": "s",
        "Token": "the-token",
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    with answering({"/role": role}) as base:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{base}/role")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        url, works_s = s3_url({})
    assert "ASIAROLE" in url
    assert "X-Amz-Security-Token=the-token" in url
    assert 3500 < works_s <= 3600


def test_keys_of_the_environment_need_no_library() -> None:
    url, _ = s3_url({}, AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="s", AWS_REGION="eu-central-1")
    assert "AKIAENV" in url
    assert "bucket.s3.eu-central-1" in url


def test_missing_credentials_of_a_machine_are_reported_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Refused, match="AWS_ACCESS_KEY_ID") as caught:
        s3_url({})
    assert caught.value.code == "no_credentials"


def test_encryption_class_and_tags_are_headers_of_the_object() -> None:
    """By S3's names; default: the bucket's own."""
    keys = {"access_key_id": "AKIA", "secret_access_key": "secret"}
    more = {"storage_class": "STANDARD_IA", "encryption": "aws:kms", "kms_key_id": "k", "tags": {"team": "a b"}}
    found = sink(SINK.read({"type": "s3", "bucket": "bucket", **keys, **more}))
    assert isinstance(found, S3Sink)
    headers = found._api._described(About("text/csv"), {})  # type: ignore[attr-defined]  # what would be sent, without a store
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "k"
    assert headers["x-amz-tagging"] == "team=a+b"


# -- OSS -----------------------------------------------------------------------------------------------------------


def test_links_of_an_internal_endpoint_name_the_public_one() -> None:
    endpoint, secret = "oss-cn-hangzhou-internal.aliyuncs.com", Secret("b")
    options = OssOptions(bucket="bucket", prefix="", endpoint=endpoint, access_key_id="a", secret_access_key=secret)
    signed = OssSink(options).url("file.csv", 1e9)
    assert signed is not None
    assert signed.url.startswith("https://bucket.oss-cn-hangzhou.aliyuncs.com/file.csv?")
    assert signed.expires_s == 604_800


@pytest.mark.parametrize("signature", ["v4", "v1"])
@pytest.mark.parametrize("token", [None, "sts"])
def test_every_form_of_signature_is_alibabas_own(signature: str, token: str | None) -> None:
    """With and without a token of STS, in headers and in URLs: their library makes the same."""
    import urllib.request

    from object_double import ObjectDouble, oss_verifier

    double = ObjectDouble("x-oss-", oss_verifier(OSS_KEY, OSS_SECRET, OSS_REGION, token))
    with double.running():
        store = OssSink(oss_options(double, signature=signature, session_token=token and Secret(token)))
        receipt = store.put("dir/ü +&.csv", (part for part in (b"x" * (12 << 20),)), About("text/csv", "ü.csv"))
        signed = store.url(receipt.location, 60, About("text/csv", "ü.csv"))
        assert signed is not None
        with urllib.request.urlopen(signed.url) as answer:
            assert len(answer.read()) == 12 << 20
        store.remove(receipt.location)
        assert not double.objects


def test_an_authority_of_ones_own_is_trusted_where_it_is_named(tmp_path: Path) -> None:
    """And nowhere else: without ca_file the certificate is refused, with the reason."""
    own = make_certificates(tmp_path / "own", "127.0.0.1")
    with stores.oss_double().running(own.server_context) as double:
        options = oss_options(double)
        trusting = OssSink(replace(options, ca_file=Path(own.ca_file)))
        receipt = trusting.put("file.csv", (part for part in (b"x" * (12 << 20),)))
        assert b"".join(trusting.open(receipt.location, 0, 3)) == b"xxx"
        with pytest.raises(Unavailable, match="no certificate that is trusted here"):
            OssSink(options).put("other.csv", (part for part in (b"x",)))
    assert sorted(double.objects) == ["file.csv"]


def test_credentials_come_from_the_machines_ram_role(tmp_path: Path) -> None:
    """They are renewed before they expire."""
    until = datetime.now(UTC) + timedelta(hours=1)
    role = {"AccessKeyId": "STS.role", "AccessKeySecret": "s", "SecurityToken": "t", "Code": "Success",
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ")}  # fmt: skip
    path = "/latest/meta-data/ram/security-credentials/"
    with answering({path: "exporter", f"{path}exporter": role, "PUT /latest/api/token": "token"}) as base:
        signed = OssSink(OssOptions(bucket="bucket", region="cn-hangzhou"), metadata=base).url("file.csv", 1e9)
    assert signed is not None
    assert "STS.role" in signed.url
    assert 3500 < signed.expires_s <= 3600


# -- Azure ---------------------------------------------------------------------------------------------------------


def test_a_store_with_a_shared_access_signature_gives_no_links() -> None:
    """They would contain all its permissions; recipients get a link to the service instead."""
    assert AzureSink(AzureOptions(bucket="c", account="a", sas_token=Secret("?sv=1&sig=x"))).url("file.csv", 60) is None


def test_a_shared_access_signature_is_enough_to_store_and_read(azurite: Azurite) -> None:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    store = stores.azure(azurite)
    token = generate_container_sas(
        ACCOUNT,
        stores.BUCKET,
        account_key=KEY,
        permission=ContainerSasPermissions(read=True, write=True, create=True, delete=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    found = AzureSink(azure_options(azurite, "sas/", account_key=None, sas_token=Secret(token)))
    receipt = found.put("file.bin", (part for part in (b"x" * (11 << 20),)))
    assert store.content(found, receipt.location) == b"x" * (11 << 20)
    assert b"".join(found.open(receipt.location, 5, 9)) == b"xxxx"
    found.remove(receipt.location)


def test_a_url_by_delegation_is_signed_as_microsoft_says() -> None:
    """The text that is signed, line by line, as their reference of version 2020-12-06 has it."""
    import base64
    import hmac

    key = base64.b64encode(b"delegated-key").decode()
    fields = {"skoid": "oid", "sktid": "tid", "skt": "start", "ske": "end", "sks": "b", "skv": "2020-12-06"}
    api = AzureApi(AzureOptions(bucket="container", account="account"))
    made = api._shared("dir/file.csv", 1_000_000.0, 60.0, None, DelegationKey(fields, key, 2e9))
    lines = ["r", made["st"], made["se"], "/blob/account/container/dir/file.csv", "oid", "tid", "start", "end", "b",
             "2020-12-06", "", "", "", "", "", "2020-12-06", "b", "", "", "", "", "", "", ""]  # fmt: skip
    right = base64.b64encode(hmac.new(b"delegated-key", "\n".join(lines).encode(), "sha256").digest()).decode()
    assert made["sig"] == right
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_000_060)) == made["se"]
