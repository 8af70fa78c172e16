"""The service and the command line with object stores, configured as users do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import subprocess
import time
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azurite_server import Azurite
from ceph_server import Ceph
from fault_proxy import FaultProxy
from fork_server import run
from mail_receiver import mail_server
from object_double import Request
from service_support import Client, emulator, service
from store_support import BUCKET, OSS_KEY, OSS_REGION, OSS_SECRET, azure, boto, oss_double, s3_double, s3_environ

ROWS = 20_000
USERS = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}}
SPLIT = USERS | {"options": {"max_rows_per_file": 8000}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as found:
        yield found


@pytest.fixture(scope="module")
def s3(ceph: Ceph) -> Any:
    return boto(ceph)


@pytest.fixture(scope="module")
def client(url: str, ceph: Ceph, s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("service")
    with service(folder, url, **s3_environ(ceph)) as running:
        yield running


def ended(client: Client, body: Any) -> dict[str, Any]:
    export_id = client.post("/v1/exports", body).json()["id"]
    deadline = time.monotonic() + 60
    while (job := client.get(f"/v1/exports/{export_id}").json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    assert job["status"] == "completed", job
    return dict(job)


def keys(s3: Any, prefix: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def test_the_old_names_put_files_where_fluxquery_did(client: Client, s3: Any) -> None:
    """exports/<job_id>.<ext> in the bucket, with its media type and name, and the SHA-256 as metadata."""
    job = ended(client, USERS | {"filename": "people"})
    stored = s3.get_object(Bucket=BUCKET, Key=f"exports/{job['id']}.csv")
    data = stored["Body"].read()
    assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"] == stored["Metadata"]["sha256"]
    assert job["files"][0]["verified"] == "md5"
    assert stored["ContentType"] == "text/csv; charset=utf-8"
    assert "people.csv" in stored["ContentDisposition"]


def test_a_file_in_a_bucket_is_downloaded_through_the_service_with_ranges(client: Client) -> None:
    """With the digests, and a download can be resumed."""
    job = ended(client, USERS)
    link = job["download"]["url"]
    whole = client.plain_get(link)
    assert hashlib.sha256(whole.content).hexdigest() == job["files"][0]["sha256"]
    assert whole.headers["Content-Length"] == str(len(whole.content))
    assert whole.headers["Repr-Digest"].startswith("sha-256=:")
    etag = whole.headers["ETag"]
    part = client.plain_get(link, {"Range": "bytes=100-199", "If-Range": etag})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    last = client.plain_get(link, {"Range": "bytes=-7"})
    assert (last.status_code, last.content) == (206, whole.content[-7:])
    assert client.plain_get(link, {"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    changed = client.plain_get(link, {"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    head = httpx.head(link)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole.content)))


def test_fluxquery_answers_with_the_stores_own_link(client: Client, ceph: Ceph) -> None:
    """The presigned URL works without the service for seven days; no log has it."""
    job_id = client.post("/export", {"query": "SELECT id FROM users"}, version=1).json()["job_id"]
    reported = client.finished(job_id)
    link = reported["download_url"]
    assert link.startswith(ceph.endpoint)
    assert "X-Amz-Expires=604800" in link or int(link.split("X-Amz-Expires=")[1].split("&")[0]) > 604_000
    answer = httpx.get(link)
    assert hashlib.sha256(answer.content).hexdigest() == reported["sha256"]
    assert reported["filename"] in urllib.parse.unquote(answer.headers["Content-Disposition"])


def test_a_mail_carries_that_link_and_attaches_the_file(url: str, ceph: Ceph, s3: Any, tmp_path: Path) -> None:
    """The attachment is read from the bucket."""
    with mail_server() as mail:
        settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail.port), "SMTP_FROM": "exports@example.com"}
        with service(tmp_path, url, **s3_environ(ceph), **settings) as running:
            body = {"query": "SELECT id FROM users LIMIT 100", "email": "a@example.com"}
            reported = running.finished(running.post("/export", body, version=1).json()["job_id"])
            deadline = time.monotonic() + 60
            while not mail.mails:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    message = mail.mails[0].message()
    attachment: Any = next(message.iter_attachments())
    assert hashlib.sha256(attachment.get_payload(decode=True)).hexdigest() == reported["sha256"]
    text: Any = message.get_body(("plain",))
    assert f"{ceph.endpoint}/{BUCKET}/exports/" in text.get_content()


def test_a_stored_export_of_several_files_has_a_manifest(client: Client, s3: Any) -> None:
    """Each file is valid alone; the manifest, stored last, lists names, rows, bytes and SHA-256."""
    job = ended(client, SPLIT | {"filename": "people"})
    assert [file["rows"] for file in job["files"]] == [8000, 8000, 4000]
    assert [file["name"] for file in job["files"]] == ["people-1.csv", "people-2.csv", "people-3.csv"]
    folder = f"exports/{job['id']}/"
    assert keys(s3, folder) == [f"{folder}{name}" for name in ("1.csv", "2.csv", "3.csv", "manifest.json")]
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key=f"{folder}manifest.json")["Body"].read())
    for file in manifest["files"]:
        data = s3.get_object(Bucket=BUCKET, Key=folder + file["name"])["Body"].read()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        assert data.count(b"\n") == file["rows"] + 1
    second = client.plain_get(job["download"]["url"] + "&part=2", {"Range": "bytes=0-12"})
    assert (second.status_code, second.content) == (206, b"id,name,email")
    assert client.plain_get(job["download"]["url"] + "&part=4").status_code == 404
    everything = zipfile.ZipFile(io.BytesIO(client.plain_get(job["download"]["url"]).content))
    assert everything.testzip() is None
    assert everything.namelist() == ["people-1.csv", "people-2.csv", "people-3.csv", "manifest.json"]
    lines = b"".join(everything.read(name) for name in everything.namelist()[:3]).splitlines()
    assert len(lines) == ROWS + 3


def test_one_zip_of_several_files_is_one_object(client: Client, s3: Any) -> None:
    """compression zip: one file with a range, a SHA-256 and a link like any other, and a manifest inside."""
    job = ended(client, SPLIT | {"compression": "zip", "filename": "people"})
    data = s3.get_object(Bucket=BUCKET, Key=f"exports/{job['id']}.zip")["Body"].read()
    assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"]
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    assert [(file["name"], file["rows"]) for file in manifest["files"]] == [
        ("people-1.csv", 8000),
        ("people-2.csv", 8000),
        ("people-3.csv", 4000),
    ]
    for file in manifest["files"]:
        assert hashlib.sha256(archive.read(file["name"])).hexdigest() == file["sha256"]


def test_a_direct_stream_can_be_a_zip(client: Client) -> None:
    """One file goes in under its own name."""
    answer = client.post("/v1/stream", USERS | {"compression": "zip", "filename": "people", "format": "xlsx"})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["people.xlsx", "manifest.json"]
    assert zipfile.ZipFile(io.BytesIO(archive.read("people.xlsx"))).testzip() is None


def test_a_file_is_pushed_to_the_callers_own_bucket(url: str, ceph: Ceph, s3: Any, tmp_path: Path) -> None:
    """By a presigned URL for PUT from a third-party library."""
    key = f"pushed/{secrets.token_hex(4)}.csv"
    presigned = s3.generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": key, "ContentType": "text/csv"}
    )
    settings = {"FLUXPORT_WEBHOOKS__ALLOW": json.dumps(["127.0.0.1"]), "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true"}
    with service(tmp_path, url, **settings) as running:
        upload = {"url": presigned, "headers": {"Content-Type": "text/csv"}}
        job = ended(running, USERS | {"notify": {"upload": upload}})
        deadline = time.monotonic() + 60
        while keys(s3, key) != [key]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        several = running.post("/v1/exports", SPLIT | {"notify": {"upload": upload}})
    data = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"]
    assert several.json()["code"] == "one_file_only"
    assert "Signature" not in json.dumps(job)


def test_a_cancelled_export_leaves_no_object(client: Client, s3: Any) -> None:
    """No object and no parts."""
    endless = {"source": {"query": "SELECT a.id, b.email FROM users a CROSS JOIN users b"}}
    export_id = client.post("/v1/exports", endless).json()["id"]
    while not client.get(f"/v1/exports/{export_id}").json()["rows"]:
        time.sleep(0.05)
    httpx.delete(f"{client.base}/v1/exports/{export_id}", headers=client.headers("DELETE", f"/v1/exports/{export_id}"))
    deadline = time.monotonic() + 60
    prefix = f"exports/{export_id}"
    while s3.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert keys(s3, prefix) == []


def test_readiness_tries_the_bucket(client: Client) -> None:
    answer = httpx.get(f"{client.base}/health/ready", timeout=30)
    assert answer.status_code == 200, answer.text
    assert "store local" in answer.text


def fluxport(*words: str, cwd: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return run(*words, folder=cwd, environ=os.environ | environ)


def aws(ceph: Ceph) -> dict[str, str]:
    """The bucket's content, read by AWS's tools."""
    return {
        "AWS_ENDPOINT_URL_S3": ceph.endpoint,
        "AWS_REGION": ceph.region,
        "AWS_ACCESS_KEY_ID": ceph.access_key,
        "AWS_SECRET_ACCESS_KEY": ceph.secret_key,
    }


def test_the_command_line_exports_into_a_bucket(url: str, ceph: Ceph, s3: Any, tmp_path: Path) -> None:
    """Configured by the environment alone; the second export replaces the first."""
    key = f"cli/{secrets.token_hex(4)}/people.csv.gz"
    words = ("export", "SELECT * FROM users", "--from", url, "--to", f"s3://{BUCKET}/{key}", "--json")
    for _ in range(2):
        done = fluxport(*words, cwd=tmp_path, environ=aws(ceph))
        assert done.returncode == 0, done.stderr
        reported = json.loads(done.stdout)
        data = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        assert reported["location"] == f"s3://{BUCKET}/{key}"
        assert (reported["rows"], reported["bytes"]) == (ROWS, len(data))
        assert reported["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_command_line_splits_into_a_bucket(url: str, ceph: Ceph, s3: Any, tmp_path: Path) -> None:
    """Files and their manifest, and nothing at all if the export fails."""
    folder = f"cli/{secrets.token_hex(4)}/"
    target = f"s3://{BUCKET}/{folder}people.csv"
    split = ("-o", "max_rows_per_file=9000", "--json")
    done = fluxport("export", "SELECT * FROM users", "--from", url, "--to", target, *split, cwd=tmp_path,
                    environ=aws(ceph))  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = ["people-1.csv", "people-2.csv", "people-3.csv", "people.manifest.json"]
    assert keys(s3, folder) == [folder + name for name in names]
    reported = json.loads(done.stdout)
    assert [file["name"] for file in reported["files"]] == names[:3]
    failing = f"cli/{secrets.token_hex(4)}/"
    target = f"s3://{BUCKET}/{failing}people.csv"
    strict = fluxport("export", "SELECT '=1+1' AS a, id FROM users", "--from", url, "--to", target, "--strict",
                      *split, cwd=tmp_path, environ=aws(ceph))  # fmt: skip
    assert strict.returncode == 3, strict.stderr
    assert keys(s3, failing) == []


def test_a_bucket_of_the_configuration_lends_its_settings(url: str, tmp_path: Path) -> None:
    """oss://bucket/key uses the store with that bucket."""
    with oss_double().running() as double:
        settings = {
            "stores": {
                "archive": {
                    "type": "oss",
                    "bucket": BUCKET,
                    "endpoint": double.endpoint,
                    "region": OSS_REGION,
                    "access_key_id": OSS_KEY,
                    "secret_access_key": OSS_SECRET,
                    "storage_class": "IA",
                }
            }
        }
        (tmp_path / "fluxport.yaml").write_text(json.dumps(settings))
        target = f"oss://{BUCKET}/people.jsonl"
        done = fluxport("export", "SELECT id FROM users", "--from", url, "--to", target, cwd=tmp_path, environ={})
        assert done.returncode == 0, done.stderr
        assert double.objects["people.jsonl"].data.count(b"\n") == ROWS
        assert double.objects["people.jsonl"].headers["x-oss-storage-class"] == "IA"
        checked = fluxport("check", cwd=tmp_path, environ={"MYSQL_DSN": url})
    assert f"store archive: can be written to, as oss://{BUCKET}/exports/".encode() in checked.stdout


def test_a_store_that_holds_other_bytes_once_gets_them_again(url: str, tmp_path: Path) -> None:
    """The first attempt fails and leaves nothing, the second is complete, and both are recorded; on the command line
    the same is exit 1 and an empty bucket."""
    damaged: list[Request] = []

    def once(request: Request) -> bool:
        if request.method == "PUT" and ".csv" in request.path and not damaged:
            damaged.append(request)
            return True
        return False

    with s3_double().running() as double:
        double.damages = once
        environ = aws(Ceph(double.endpoint))
        with service(tmp_path, url, STORAGE_TYPE="s3", S3_BUCKET=BUCKET, S3_ENDPOINT=double.endpoint, **environ) as own:
            job = ended(own, USERS)
        assert [error["code"] for error in job["attempt_errors"]] == ["store_differs"]
        assert (job["attempts"], job["files"][0]["verified"]) == (2, "sha256")
        assert [hashlib.sha256(found.data).hexdigest() for found in double.objects.values()] == [
            job["files"][0]["sha256"]
        ]
        words = ("export", "SELECT * FROM users", "--from", url, "--to", f"s3://{BUCKET}/cli.csv")
        damaged.clear()
        failed = fluxport(*words, cwd=tmp_path, environ=environ)
        assert (failed.returncode, "cli.csv" in double.objects) == (1, False), failed.stderr
        assert b"stored bytes differ from those that were sent" in failed.stderr
        done = fluxport(*words, cwd=tmp_path, environ=environ)
    assert done.stdout.endswith(b", verified by sha256\n"), done.stderr


def test_check_reports_what_is_wrong_with_a_store(ceph: Ceph, tmp_path: Path) -> None:
    """In one sentence, without the secret."""
    wrong = s3_environ(ceph) | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    done = fluxport("check", cwd=tmp_path, environ=wrong)
    assert done.returncode == 1
    assert b"FAIL  store local: The store 127.0.0.1 denied access with these credentials" in done.stdout
    assert b"not-the-secret" not in done.stdout + done.stderr


def test_the_command_line_exports_into_azure(url: str, azurite: Azurite, tmp_path: Path) -> None:
    """By the account's key in the environment and an endpoint in the configuration."""
    store = azure(azurite)
    settings = {
        "stores": {
            "blobs": {
                "type": "azure",
                "bucket": BUCKET,
                "account": azurite.account,
                "account_key": azurite.key,
                "endpoint": azurite.endpoint,
            }
        }
    }
    (tmp_path / "fluxport.yaml").write_text(json.dumps(settings))
    target = f"az://{BUCKET}/cli/people.csv"
    done = fluxport("export", "SELECT id FROM users", "--from", url, "--to", target, cwd=tmp_path, environ={})
    assert done.returncode == 0, done.stderr
    assert store.content(store.make(False), target).count(b"\n") == ROWS + 1


def test_missing_credentials_are_reported_before_a_query_runs(url: str, tmp_path: Path) -> None:
    """One sentence with what to set."""
    words = ("export", "SELECT * FROM users", "--from", url, "--to", f"s3://{BUCKET}/a.csv", "--quiet")
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere"}
    done = fluxport(*words, cwd=tmp_path, environ=nothing | {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere"})
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1
    assert "AWS_ACCESS_KEY_ID" in done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--to", "ftp://host/file.csv"), "is not a file"),
        (("--to", "s3://bucket"), "is not of the form s3://bucket/folder/file.csv"),
        (("--to", "s3://bucket/file.xyz"), "has no known suffix"),
    ],
)
def test_unusable_targets_are_refused(words: tuple[str, ...], sentence: str, url: str, tmp_path: Path) -> None:
    done = fluxport("export", "SELECT 1", "--from", url, *words, cwd=tmp_path, environ={})
    assert done.returncode == 2
    assert sentence in done.stderr.decode()


def test_a_bucket_that_hangs_makes_the_service_not_ready_in_time(url: str, ceph: Ceph, s3: Any, tmp_path: Path) -> None:
    """The response comes although the store does not respond."""
    with FaultProxy(ceph.endpoint, "stall", 0) as proxy:
        with service(tmp_path, url, **s3_environ(ceph) | {"S3_ENDPOINT": proxy.url}) as running:
            answer = httpx.get(f"{running.base}/health/ready", timeout=40)
    assert answer.status_code == 503
    assert "store local" in answer.text


def test_a_store_in_memory_serves_what_its_worker_made(url: str, tmp_path: Path) -> None:
    """Both processes reach it, and nothing of it remains."""
    with service(tmp_path, url, STORAGE_TYPE="memory") as running:
        job = ended(running, USERS)
        data = running.plain_get(job["download"]["url"]).content
    assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"]
    assert not (tmp_path / "exports").exists()


def test_rows_pushed_over_grpc_are_stored_in_oss_as_configured_by_s3_variables(tmp_path: Path) -> None:
    """As the Export middleware did: its variables, its object names, and an ``oss_url`` that a recipient can open."""
    from grpc_support import grpc_api, metadata, people

    with oss_double().running() as double:
        old = {
            "OSS_ENDPOINT": double.endpoint,
            "OSS_BUCKET": BUCKET,
            "OSS_ACCESS_KEY_ID": OSS_KEY,
            "OSS_ACCESS_KEY_SECRET": OSS_SECRET,
            "OSS_REGION": OSS_REGION,
        }
        with grpc_api(tmp_path, **old) as shop:
            pushed = shop.push([metadata(filename="people"), *people(1500)])
            content = pushed.file()
            assert pushed.last.oss_url.startswith(f"{double.endpoint}/{BUCKET}/exports/")
    assert content.count(b"\n") == 1501
    (key,) = double.objects
    assert re.fullmatch(r"exports/\d{4}/\d\d/\d\d/[0-9a-f-]{36}_\d{8}-\d{6}_people\.csv", key)
    assert double.objects[key].data == content
