"""A service with the gRPC API, a key for it, and messages to push."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

import identity_support
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import export_pb2_grpc as pb_grpc
from service_support import Client, process
from services import require_program, unavailable

SECRET = "a-test-secret-of-the-right-length-0123456789"
COLUMNS = (
    pb.ColumnDefinition(name="id", data_type="DATA_TYPE_NUMBER"),
    pb.ColumnDefinition(name="name", data_type="DATA_TYPE_STRING"),
    pb.ColumnDefinition(name="day", data_type="DATA_TYPE_DATE"),
    pb.ColumnDefinition(name="ok", data_type="DATA_TYPE_BOOLEAN"),
)
ROW = ("1", "Ada", "2026-01-31", "true")


@dataclass
class GrpcApi:
    """The gRPC API of a running service, and a key for it."""

    target: str
    http: Client
    folder: Path
    key: str
    credentials: grpc.ChannelCredentials | None = None

    def channel(self) -> grpc.Channel:
        if self.credentials is not None:
            return grpc.secure_channel(self.target, self.credentials)
        return grpc.insecure_channel(self.target)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.key}"),)

    def files(self) -> list[Path]:
        """All files of the store, finished or not."""
        return sorted(path for path in (self.folder / "exports").rglob("*") if path.is_file())

    def push(self, requests: Iterable[pb.ExportRequest], *extra: tuple[str, str], key: str | None = None) -> Outcome:
        """Push to the end; returns all responses."""
        shown = self.key if key is None else key
        metadata = ((("authorization", f"Bearer {shown}"),) if shown else ()) + extra
        with self.channel() as channel:
            call = pb_grpc.ExportServiceStub(channel).StreamExport(iter(requests), metadata=metadata, timeout=60)
            return outcome(call)

    def status(self, task_id: str) -> pb.TaskStatusResponse:
        with self.channel() as channel:
            stub: Any = pb_grpc.ExportServiceStub(channel)
            request = pb.TaskStatusRequest(task_id=task_id)
            reported: pb.TaskStatusResponse = stub.QueryTaskStatus(request, metadata=self.metadata, timeout=30)
            return reported

    def cancel(self, task_id: str) -> pb.TaskStatusResponse:
        with self.channel() as channel:
            stub: Any = pb_grpc.ExportServiceStub(channel)
            request = pb.CancelTaskRequest(task_id=task_id)
            reported: pb.TaskStatusResponse = stub.CancelTask(request, metadata=self.metadata, timeout=30)
            return reported

    def ended(self, task_id: str) -> pb.TaskStatusResponse:
        """The task once it has ended."""
        deadline = time.monotonic() + 60
        while (reported := self.status(task_id)).status not in (pb.TASK_STATUS_COMPLETED, pb.TASK_STATUS_FAILED):
            assert time.monotonic() < deadline, reported
            time.sleep(0.05)
        return reported


@dataclass
class Outcome:
    """The responses of a call, and how it ended."""

    answers: list[pb.ExportResponse]
    code: grpc.StatusCode
    details: str
    headers: dict[str, str]
    trailers: dict[str, str]

    @property
    def last(self) -> pb.ExportResponse:
        return self.answers[-1]

    @property
    def word(self) -> str:
        return self.trailers.get("x-fluxport-error-code", "")

    def file(self) -> bytes:
        """The stored file, fetched by its link and compared with its recorded size and digest."""
        assert self.code is grpc.StatusCode.OK, (self.code, self.details)
        content = httpx.get(self.last.oss_url, timeout=30).raise_for_status().content
        assert len(content) == self.last.file_size_bytes
        assert hashlib.sha256(content).hexdigest() == self.last.checksum_sha256
        return content


def outcome(call: Any) -> Outcome:
    answers = []
    try:
        for answer in call:
            answers.append(answer)  # noqa: PERF402  an error must not lose those before it
    except grpc.RpcError:
        pass
    headers, trailers = (
        {name: str(value) for name, value in pairs or ()}
        for pairs in (call.initial_metadata(), call.trailing_metadata())
    )
    return Outcome(answers, call.code(), call.details() or "", headers, trailers)


def metadata(
    request_id: str | None = None,
    *,
    format: str = "FORMAT_CSV",
    filename: str = "people",
    columns: Sequence[pb.ColumnDefinition] = COLUMNS,
    expected_rows: int = 0,
    **options: Any,
) -> pb.ExportRequest:
    return pb.ExportRequest(
        metadata=pb.ExportMetadata(
            request_id=secrets.token_hex(8) if request_id is None else request_id,
            format=format,
            filename=filename,
            columns=columns,
            options=pb.FormatOptions(**options),
            expected_rows=expected_rows,
        )
    )


def batch(sequence: int, *rows: Sequence[str], arrow: bytes = b"") -> pb.ExportRequest:
    records = [pb.Record(values=row) for row in rows]
    return pb.ExportRequest(batch=pb.DataBatch(records=records, batch_sequence=sequence, arrow_ipc=arrow))


def people(count: int, per_batch: int = 1000) -> Iterator[pb.ExportRequest]:
    """Batches of ``count`` rows of COLUMNS."""
    for number, start in enumerate(range(0, count, per_batch), 1):
        yield batch(
            number,
            *(
                (str(i), f"name {i}", f"2026-01-{i % 28 + 1:02d}", "true" if i % 2 else "false")
                for i in range(start, min(start + per_batch, count))
            ),
        )


GO_LIBRARIES = Path("/usr/share/gocode")  # Debian's golang-google-grpc-dev


def go_environment(path: Path) -> dict[str, str]:
    """The environment that builds programs below ``path`` with Debian's sources of the gRPC library; skips the test if
    Go, the library or a generator is missing."""
    for program in ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"):
        require_program(program)
    if not (GO_LIBRARIES / "src" / "google.golang.org" / "grpc").exists():
        unavailable("Go's gRPC library")
    settings = {"GO111MODULE": "off", "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    return os.environ | {"GOPATH": f"{path}{os.pathsep}{GO_LIBRARIES}"} | settings


def new_key(folder: Path, name: str = "pusher", *scopes: str, user: str = "shop") -> str:
    """A bearer key of the service whose database is in ``folder``."""
    return identity_support.new_key(folder, name, user, *(scopes or ("push",)))


@contextlib.contextmanager
def grpc_api(folder: Path, *words: str, port: str = "0", **environ: str) -> Iterator[GrpcApi]:
    """A service for pushed rows alone, which stores below ``folder``."""
    settings = {"API_SECRET": SECRET, "LOCAL_STORAGE_PATH": str(folder / "exports"), "FLUXPORT_GRPC__ENABLED": "true"}
    with process(
        "serve",
        "--port",
        str(port),
        "--no-worker",
        *words,
        folder=folder,
        environ=settings | environ,
        until="listening on",
    ) as (started, line):
        logs = sorted(folder.glob("serve-*.log"), key=lambda path: path.stat().st_mtime)
        target = re.search(r"gRPC at (\S+)", logs[-1].read_text())
        assert target
        client = Client(line.split("listening on ")[1].strip(), started.pid)
        yield GrpcApi(target[1], client, folder, new_key(folder, f"pusher-{secrets.token_hex(4)}"))
