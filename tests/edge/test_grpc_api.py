"""Rows pushed over gRPC by real clients to a real service: what is stored, and what is refused with which message."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import wide_support
from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys
from fluxport.auth.scopes import EVERYTHING
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import export_pb2_grpc as pb_grpc
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore
from fluxport.spec import ExportSpec
from grpc_support import COLUMNS, ROW, SECRET, GrpcApi, batch, grpc_api, metadata, new_key, outcome, people
from own_certificates import make_certificates

TEXT, NUMBER = "DATA_TYPE_STRING", "DATA_TYPE_NUMBER"
STATES = ["TASK_STATUS_QUEUED", "TASK_STATUS_UPLOADING", "TASK_STATUS_COMPLETED"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    with grpc_api(tmp_path_factory.mktemp("grpc"), FLUXPORT_GRPC__IDLE_S="2") as found:
        yield found


def wait_until(reached: Any) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Sender:
    """Requests that a test sends one by one in a call; it reads the responses when it likes."""

    def __init__(self, to: GrpcApi, *requests: pb.ExportRequest, extra: tuple[tuple[str, str], ...] = ()) -> None:
        self._more = threading.Condition()
        self._requests = list(requests)
        self._ended = False
        self.channel = to.channel()
        stub = pb_grpc.ExportServiceStub(self.channel)
        self.call = stub.StreamExport(self._sent(), metadata=to.metadata + extra, timeout=60)

    def _sent(self) -> Iterator[pb.ExportRequest]:
        while True:
            with self._more:
                self._more.wait_for(lambda: self._requests or self._ended)
                if not self._requests:
                    return
                request = self._requests.pop(0)
            yield request

    def send(self, *requests: pb.ExportRequest) -> None:
        with self._more:
            self._requests += requests
            self._more.notify()

    def end(self) -> None:
        with self._more:
            self._ended = True
            self._more.notify()

    def queued(self) -> str:
        """The task's id, from the first response."""
        return str(next(self.call).task_id)

    def leave(self) -> None:
        self.call.cancel()
        self.end()
        self.channel.close()


# -- what is stored ----------------------------------------------------------------------------------------------------


def test_rows_become_a_csv_file_whose_proof_is_in_the_last_answer(shop: GrpcApi) -> None:
    done = shop.push([metadata(), *people(2_500)], ("x-fluxport-responses", "stream"))
    reported = [pb.TaskStatus.Name(answer.status) for answer in done.answers]
    assert [state for state in reported if state != "TASK_STATUS_PROCESSING"] == STATES
    assert len({answer.task_id for answer in done.answers}) == 1
    rows = list(csv.reader(io.StringIO(done.file().decode())))
    assert rows[0] == ["id", "name", "day", "ok"]
    assert rows[1:] == [
        [str(i), f"name {i}", f"2026-01-{i % 28 + 1:02d}", "true" if i % 2 else "false"] for i in range(2_500)
    ]
    assert (done.last.record_count, done.last.progress_percent) == (2_500, 100)
    assert abs(done.last.start_time - time.time()) < 60
    assert done.last.completion_time >= done.last.start_time


def test_no_rows_result_in_a_file_with_a_header(shop: GrpcApi) -> None:
    done = shop.push([metadata()])
    assert (done.file(), done.last.record_count) == (b"id,name,day,ok\n", 0)


def test_cells_of_a_workbook_have_the_types_that_were_declared(shop: GrpcApi, tmp_path: Path) -> None:
    columns = [
        pb.ColumnDefinition(name="n", data_type="DATA_TYPE_NUMBER", format="#,##0.00", width=31),
        pb.ColumnDefinition(name="text", data_type="DATA_TYPE_STRING"),
        pb.ColumnDefinition(name="at", data_type="DATA_TYPE_DATE"),
        pb.ColumnDefinition(name="european", data_type="DATA_TYPE_DATE", format="dd.mm.yyyy"),
        pb.ColumnDefinition(name="ok", data_type="DATA_TYPE_BOOLEAN"),
    ]
    rows = [
        ("-12.5", "007", "2026-01-31", "31.01.2026", "YES"),
        ("1e3", "=1+1", "2026-01-31T23:59:59.5+01:00", "2026-02-01", "0"),
        ("", "", "", "", ""),
        ("12345678901234567890", "-5", "1999-12-31 01:02:03", "01.03.2026", "false"),
    ]
    requested = metadata(format="FORMAT_EXCEL", columns=columns, excel_sheet_name="Orders", excel_start_row=3)
    (tmp_path / "book.xlsx").write_bytes(shop.push([requested, batch(1, *rows)]).file())
    book = openpyxl.load_workbook(tmp_path / "book.xlsx")
    sheet = book["Orders"]
    found = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=4, max_row=7)]
    assert found == [
        [-12.5, "007", datetime(2026, 1, 31), datetime(2026, 1, 31), True],
        [1000, "=1+1", datetime(2026, 1, 31, 22, 59, 59, 500_000), datetime(2026, 2, 1), False],
        [None, "", None, None, None],
        ["12345678901234567890", "-5", datetime(1999, 12, 31, 1, 2, 3), datetime(2026, 3, 1), False],
    ]
    assert [cell.value for cell in sheet[3]] == ["n", "text", "at", "european", "ok"]
    assert [cell.value for cell in sheet[1]] == [None] * 5
    assert sheet["B5"].data_type != "f"
    assert (sheet["A4"].number_format, sheet["D4"].number_format) == ("#,##0.00", "dd.mm.yyyy")
    assert [sheet[f"C{row}"].number_format.replace("\\", "") for row in (4, 5)] == ["yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"]
    assert sheet.column_dimensions["A"].width == 31


def test_delimiter_encoding_and_compression_are_honoured(shop: GrpcApi) -> None:
    columns = [pb.ColumnDefinition(name="größe", data_type="DATA_TYPE_STRING"), COLUMNS[0]]
    requested = metadata(columns=columns, csv_delimiter=";", csv_encoding="iso-8859-1", compression_enabled=True)
    done = shop.push([requested, batch(1, ("süß; sauer", "1"))])
    assert gzip.decompress(done.file()) == 'größe;id\n"süß; sauer";1\n'.encode("iso-8859-1")
    assert shop.status(done.last.task_id).filename == "people.csv.gz"


def test_json_lines_and_parquet_hold_typed_values(shop: GrpcApi) -> None:
    rows = [("12345678901234567890.50", "Ada", "2026-01-31", "t"), ("+007", "", "", "n")]
    lines = shop.push([metadata(format="FORMAT_JSONL"), batch(1, *rows)]).file().decode().splitlines()
    assert lines[0] == '{"id":12345678901234567890.50,"name":"Ada","day":"2026-01-31","ok":true}'
    assert json.loads(lines[1]) == {"id": 7, "name": "", "day": None, "ok": False}
    rows[0] = ("0.1", *rows[0][1:])
    table = pq.read_table(io.BytesIO(shop.push([metadata(format="FORMAT_PARQUET"), batch(1, *rows)]).file()))
    assert table.to_pylist() == [
        {"id": 0.1, "name": "Ada", "day": datetime(2026, 1, 31), "ok": True},
        {"id": 7.0, "name": "", "day": None, "ok": False},
    ]


def test_the_bytes_do_not_depend_on_how_rows_were_cut_into_batches(shop: GrpcApi) -> None:
    for name in ("FORMAT_CSV", "FORMAT_EXCEL", "FORMAT_PARQUET"):
        sums = {
            shop.push([metadata(format=name), *people(3_000, per_batch)]).last.checksum_sha256
            for per_batch in (3_000, 1_000, 7)
        }
        assert len(sums) == 1, name


def ipc(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    made: bytes = sink.getvalue().to_pybytes()
    return made


ARROW = pa.table(
    {
        "id": pa.array([1, 2**62], pa.int64()),
        "name": ["Ada", None],
        "day": pa.array([20_484, None], pa.date32()),
        "ok": [True, False],
    }
)


def test_arrow_batches_retain_their_types(shop: GrpcApi) -> None:
    requests = [metadata(format="FORMAT_PARQUET"), batch(1, arrow=ipc(ARROW)), batch(2, arrow=ipc(ARROW))]
    table = pq.read_table(io.BytesIO(shop.push(requests).file()))
    assert table.cast(ARROW.schema).equals(pa.concat_tables([ARROW, ARROW]))
    assert table.schema.types == ARROW.schema.types


@pytest.mark.parametrize("per_batch", [1, 7, 40])
def test_a_thousand_columns_of_arrow_are_stored_as_they_were_sent(shop: GrpcApi, per_batch: int) -> None:
    """However the rows were cut into batches."""
    sent = wide_support.table(40)
    kinds = ("NUMBER", "NUMBER", "STRING", "DATE", "NUMBER", "STRING")
    columns = [pb.ColumnDefinition(name=f"c{k}", data_type=f"DATA_TYPE_{kinds[k % 6]}") for k in range(1000)]
    batches = sent.to_batches(per_batch)
    messages = (batch(number, arrow=ipc(pa.table(each))) for number, each in enumerate(batches, 1))
    content = shop.push([metadata(format="FORMAT_PARQUET", columns=columns), *messages]).file()
    stored = pq.read_table(io.BytesIO(content))
    assert stored.cast(sent.schema).equals(sent)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ipc(ARROW)[:-40], "complete Arrow IPC stream"),
        (b"nonsense", "complete Arrow IPC stream"),
        (ipc(ARROW, compression="zstd"), "without compression"),
        (ipc(ARROW.set_column(1, "name", ARROW["name"].dictionary_encode())), "plain columns"),
        (ipc(ARROW.rename_columns(["id", "who", "day", "ok"])), "declared"),
        (ipc(ARROW.set_column(3, "ok", pa.array([1, 0]))), "declared boolean"),
    ],
)
def test_arrow_batches_that_are_not_what_was_declared_are_refused(shop: GrpcApi, content: bytes, said: str) -> None:
    done = shop.push([metadata(), batch(1, arrow=content)])
    assert (done.code, done.word) == (StatusCode.INVALID_ARGUMENT, "VALIDATION_ERROR")
    assert said in done.details


def test_the_name_of_the_stored_object_is_as_the_middleware_made_it(shop: GrpcApi) -> None:
    done = shop.push([metadata(filename="../Bericht für {Q1}.csv"), batch(1, ROW)])
    (path,) = [path for path in shop.files() if done.last.task_id in path.name]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d", str(path.parent.relative_to(shop.folder / "exports")))
    assert re.fullmatch(rf"{done.last.task_id}_\d{{8}}-\d{{6}}_[A-Za-z0-9._-]+\.csv", path.name)
    assert shop.status(done.last.task_id).filename == ".._Bericht für (Q1).csv".strip(". ")


# -- what is refused ---------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[pb.ExportRequest], str, str]] = {
    "no request_id": ([metadata("")], "INVALID_METADATA", "request_id"),
    "no format": ([metadata(format="FORMAT_UNSPECIFIED")], "INVALID_FORMAT", "FORMAT_CSV"),
    "no filename": ([metadata(filename=" ")], "INVALID_METADATA", "filename"),
    "no columns": ([metadata(columns=[])], "INVALID_METADATA", "columns"),
    "no name": ([metadata(columns=[pb.ColumnDefinition(data_type=TEXT)])], "INVALID_METADATA", "Column 1"),
    "no type": ([metadata(columns=[pb.ColumnDefinition(name="a")])], "INVALID_METADATA", "'a'"),
    "negative width": (
        [metadata(columns=[pb.ColumnDefinition(name="a", data_type=TEXT, width=-1)])],
        "INVALID_METADATA",
        "width",
    ),
    "wide": (
        [metadata(format="FORMAT_EXCEL", columns=[pb.ColumnDefinition(name="a", data_type=TEXT, width=300)])],
        "VALIDATION_ERROR",
        "width",
    ),
    "bad number format": (
        [metadata(format="FORMAT_EXCEL", columns=[pb.ColumnDefinition(name="a", data_type=NUMBER, format="[[")])],
        "VALIDATION_ERROR",
        "number format",
    ),
    "bad delimiter": ([metadata(csv_delimiter="ab")], "VALIDATION_ERROR", "delimiter"),
    "bad encoding": ([metadata(csv_encoding="klingon")], "VALIDATION_ERROR", "klingon"),
    "bad start row": ([metadata(format="FORMAT_EXCEL", excel_start_row=-1)], "INVALID_METADATA", "excel_start_row"),
    "batch first": ([batch(1, ROW)], "INVALID_METADATA", "metadata"),
    "nothing": ([], "INVALID_METADATA", "metadata"),
    "metadata again": ([metadata(), metadata()], "STREAM_ERROR", "batch"),
    "narrow row": ([metadata(), batch(1, ROW, ROW[:3])], "VALIDATION_ERROR", "Row 2 has 3 values"),
    "row of the right sum": ([metadata(), batch(1, ROW[:3], (*ROW, "x"))], "VALIDATION_ERROR", "Row 1 has 3 values"),
    "not a number": (
        [metadata(), batch(1, ROW), batch(2, ROW, ("1,5", *ROW[1:]))],
        "VALIDATION_ERROR",
        "Row 3, column 'id'",
    ),
    "not a date": ([metadata(), batch(1, ("1", "a", "2026-02-30", "true"))], "VALIDATION_ERROR", "Row 1, column 'day'"),
    "not a boolean": ([metadata(), batch(1, ("1", "a", "", "maybe"))], "VALIDATION_ERROR", "Row 1, column 'ok'"),
    "infinity": ([metadata(), batch(1, ("inf", *ROW[1:]))], "VALIDATION_ERROR", "column 'id'"),
    "gap": ([metadata(), batch(1, ROW), batch(3, ROW)], "STREAM_ERROR", "batch 3 came after batch 1"),
    "back": ([metadata(), batch(1, ROW), batch(2, ROW), batch(1, ROW)], "STREAM_ERROR", "batch 1 came after batch 2"),
    "late start": ([metadata(), batch(2, ROW)], "STREAM_ERROR", "the first number is 2, not 1"),
    "late start behind others": ([metadata(), batch(0, ROW), batch(2, ROW)], "STREAM_ERROR", "the first number is 2"),
    "gap around others": ([metadata(), batch(1, ROW), batch(0, ROW), batch(3, ROW)], "STREAM_ERROR", "after batch 1"),
    "negative number": ([metadata(), batch(-1, ROW)], "STREAM_ERROR", "the first number is -1, not 1"),
    "same number, other rows": ([metadata(), batch(1, ROW), batch(1, ROW, ROW)], "STREAM_ERROR", "two different"),
    "less than no rows": ([metadata(expected_rows=-1)], "INVALID_METADATA", "'expected_rows' is 0 to"),
    "fewer rows": ([metadata(expected_rows=3), batch(1, ROW)], "VALIDATION_ERROR", "1 of the 3 announced"),
    "text and Arrow": ([metadata(), batch(1, ROW), batch(2, arrow=ipc(ARROW))], "VALIDATION_ERROR", "Batch 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_invalid_push_is_refused_with_its_code_and_place_and_leaves_nothing(shop: GrpcApi, name: str) -> None:
    requests, word, said = WRONG[name]
    before = shop.files()
    done = shop.push(requests)
    assert (done.code, done.word) == (StatusCode.INVALID_ARGUMENT, word), done.details
    assert said in done.details
    assert (done.last.status, done.last.error_code) == (pb.TASK_STATUS_FAILED, word)
    assert done.last.error_message == done.details
    assert not done.last.oss_url
    assert shop.files() == before
    if done.last.task_id:
        reported = shop.status(done.last.task_id)
        assert (reported.status, reported.error_code, reported.oss_url) == (pb.TASK_STATUS_FAILED, word, "")


@pytest.mark.parametrize(
    ("numbers", "rows"),
    [
        ((0, 0, 0), 3),
        ((0, 1, 2), 3),
        ((1, 2, 3), 3),
        ((0, 0, 1, 2), 4),
        ((1, 0, 0, 2), 4),
        ((1, 1, 2, 2), 2),
        ((0, 1, 0, 1, 2, 0), 5),
    ],
)
def test_equal_batches_are_repeats_only_if_they_have_the_same_number(
    shop: GrpcApi, numbers: tuple[int, ...], rows: int
) -> None:
    """Zero is no number: such a batch is neither a repeat nor a gap, and does not change the count of the others."""
    done = shop.push([metadata(), *(batch(number, ROW) for number in numbers)])
    assert (done.last.record_count, done.file().count(b"\n")) == (rows, rows + 1)


def test_a_batch_without_content_says_nothing_about_the_others(shop: GrpcApi) -> None:
    done = shop.push([metadata(), batch(0), batch(1, arrow=ipc(ARROW)), batch(0)])
    assert (done.code, done.last.record_count) == (StatusCode.OK, ARROW.num_rows)


def test_options_that_say_nothing_are_the_same_as_none(shop: GrpcApi) -> None:
    requested = metadata("options-left-out")
    requested.metadata.ClearField("options")
    first, again = shop.push([requested, batch(1, ROW)]), shop.push([metadata("options-left-out"), batch(1, ROW)])
    assert (again.code, again.last.task_id) == (StatusCode.OK, first.last.task_id)


@pytest.mark.slow
def test_a_thousand_pushes_without_numbers_lose_no_row(tmp_path: Path) -> None:
    """Three equal batches of one row each, twenty pushes at once."""
    with grpc_api(tmp_path, FLUXPORT_LIMITS__REQUESTS_PER_MINUTE="100000") as found, found.channel() as channel:

        def push(_: int) -> tuple[int, int]:
            requests = [metadata(), batch(0, ROW), batch(0, ROW), batch(0, ROW)]
            call = pb_grpc.ExportServiceStub(channel).StreamExport(iter(requests), metadata=found.metadata, timeout=120)
            done = outcome(call)
            (path,) = [path for path in found.files() if done.last.task_id in path.name]
            return done.last.record_count, path.read_bytes().count(b"\n")

        with ThreadPoolExecutor(20) as pushing:
            assert set(pushing.map(push, range(1_000))) == {(3, 4)}


def test_a_caller_without_a_key_or_with_a_wrong_one_is_unauthenticated(shop: GrpcApi) -> None:
    for key in ("", "fxp_aaaaaaaaaaaa_" + "A" * 43):
        done = shop.push([metadata()], key=key)
        assert done.code is StatusCode.UNAUTHENTICATED
    with shop.channel() as channel:
        stub: Any = pb_grpc.ExportServiceStub(channel)
        for call, requested in (
            (stub.QueryTaskStatus, pb.TaskStatusRequest()),
            (stub.CancelTask, pb.CancelTaskRequest()),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call(requested)
            assert raised.value.code() is StatusCode.UNAUTHENTICATED


def test_a_key_without_the_scope_push_is_not_enough(shop: GrpcApi) -> None:
    key = new_key(shop.folder, "reader", "dataset:*")
    done = shop.push([metadata(), batch(1, ROW)], key=key)
    assert (done.code, "push" in done.details) == (StatusCode.PERMISSION_DENIED, True)


def test_tasks_of_others_and_tasks_that_never_were_are_not_found(shop: GrpcApi) -> None:
    done = shop.push([metadata()], key=new_key(shop.folder, "other", user="another shop"))
    for task_id in (done.last.task_id, "no-such-task", ""):
        for ask in (shop.status, shop.cancel):
            with pytest.raises(grpc.RpcError) as raised:
                ask(task_id)
            assert raised.value.code() is StatusCode.NOT_FOUND


def test_a_key_sees_and_cancels_no_export_that_its_scopes_and_settings_hide(shop: GrpcApi) -> None:
    store = JobStore(f"sqlite:///{shop.folder}/fluxport.db")
    requested, ann = ExportRequest(ExportSpec("SELECT 1")), Caller("shop", scopes=EVERYTHING)
    of_sql = store.create(requested, ann, api="native", active_max=9, queue_max=9)[0].id
    key = Keys(store.engine).create("modest", "shop", ["push"], expires_s=None, own_results=True)[1]
    requests = [metadata("seen by one"), batch(1, ROW)]
    modest, others = replace(shop, key=key), shop.push(requests).last.task_id
    for who, task_id in ((shop, of_sql), (modest, of_sql), (modest, others)):
        for ask in (who.status, who.cancel):
            with pytest.raises(grpc.RpcError) as raised:
                ask(task_id)
            assert raised.value.code() is StatusCode.NOT_FOUND
    assert store.get(of_sql).status == "queued"
    store.move(of_sql, "canceled")
    store.close()
    assert shop.status(others).status == pb.TASK_STATUS_COMPLETED
    assert modest.status(modest.push([metadata(), batch(1, ROW)]).last.task_id).status == pb.TASK_STATUS_COMPLETED
    again = modest.push(requests)
    assert again.code is StatusCode.ALREADY_EXISTS


def test_a_client_that_sends_nothing_is_ended(shop: GrpcApi) -> None:
    sender = Sender(shop, metadata(), batch(1, ROW))
    done = outcome(sender.call)
    assert (done.code, done.word) == (StatusCode.DEADLINE_EXCEEDED, "STREAM_ERROR")
    assert "Nothing was sent for 2 s" in done.details
    assert shop.ended(done.last.task_id).error_code == "STREAM_ERROR"
    sender.leave()


def test_a_client_that_waits_for_a_response_in_vain_is_told_the_setting(shop: GrpcApi) -> None:
    sender = Sender(shop, metadata(), extra=(("x-fluxport-responses", "final"),))
    done = outcome(sender.call)
    assert (done.code, "grpc.answers_of" in done.details) == (StatusCode.DEADLINE_EXCEEDED, True)
    sender.leave()


def test_a_message_over_the_limit_ends_the_call_and_leaves_nothing(shop: GrpcApi) -> None:
    before = shop.files()
    sender = Sender(shop, metadata())
    task_id = sender.queued()
    sender.send(batch(1, ("1", "x" * (5 << 20), "", "")))
    assert outcome(sender.call).code is StatusCode.RESOURCE_EXHAUSTED
    assert shop.ended(task_id).status == pb.TASK_STATUS_FAILED
    assert shop.files() == before
    sender.leave()


def test_compressed_messages_are_refused_before_they_are_unpacked(shop: GrpcApi) -> None:
    """A few kilobytes that would expand to half a gigabyte."""
    bomb = batch(1, ("1", "x" * (512 << 20), "", ""))
    with grpc.insecure_channel(shop.target, options=[("grpc.max_send_message_length", -1)]) as channel:
        peak = _peak_mb(shop.http.pid)
        call = pb_grpc.ExportServiceStub(channel).StreamExport(
            iter([metadata(), bomb]), metadata=shop.metadata, compression=grpc.Compression.Gzip, timeout=60
        )
        assert outcome(call).code in (StatusCode.UNIMPLEMENTED, StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL)
        assert _peak_mb(shop.http.pid) - peak < 100


def _peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


# -- one answer, one task ----------------------------------------------------------------------------------------------


def old_stub(channel: grpc.Channel) -> Any:
    """The call of a client whose proto has ``returns (ExportResponse)`` without ``stream``."""
    return channel.stream_unary(
        "/export.ExportService/StreamExport",
        request_serializer=pb.ExportRequest.SerializeToString,
        response_deserializer=pb.ExportResponse.FromString,
    )


def one_answer(to: GrpcApi, requests: list[pb.ExportRequest], *extra: tuple[str, str], key: str | None = None) -> Any:
    headers = (("authorization", f"Bearer {key or to.key}"), *extra)
    with to.channel() as channel:
        return old_stub(channel)(iter(requests), metadata=headers, timeout=60)


def test_a_client_of_the_old_proto_gets_one_answer(shop: GrpcApi) -> None:
    answer = one_answer(shop, [metadata(), *people(1_500)], ("x-fluxport-responses", "final"))
    assert (answer.status, answer.record_count) == (pb.TASK_STATUS_COMPLETED, 1_500)
    assert httpx.get(answer.oss_url).content.count(b"\n") == 1_501


def test_a_client_that_ends_its_rows_without_a_pause_gets_one_answer(shop: GrpcApi) -> None:
    """With the stubs of both protos; the task's id is in the headers, also for a client that reads many."""
    assert one_answer(shop, [metadata(), *people(1_500)]).record_count == 1_500
    done = shop.push([metadata(), *people(1_500)])
    assert [answer.status for answer in done.answers] == [pb.TASK_STATUS_COMPLETED]
    assert done.headers["x-fluxport-task-id"] == done.last.task_id


def test_a_client_that_pauses_gets_every_answer(shop: GrpcApi) -> None:
    sender = Sender(shop, metadata(), batch(1, ROW))
    assert next(sender.call).status in (pb.TASK_STATUS_QUEUED, pb.TASK_STATUS_PROCESSING)
    sender.end()
    reported = {answer.status for answer in outcome(sender.call).answers}
    assert reported >= {pb.TASK_STATUS_UPLOADING, pb.TASK_STATUS_COMPLETED}


def test_a_client_that_never_pauses_gets_the_progress_too(shop: GrpcApi) -> None:
    """It sends until it is answered."""
    answered = threading.Event()

    def requests() -> Iterator[pb.ExportRequest]:
        yield metadata()
        while not answered.is_set():
            yield batch(0, ROW)

    with shop.channel() as channel:
        call = pb_grpc.ExportServiceStub(channel).StreamExport(requests(), metadata=shop.metadata, timeout=60)
        assert next(call).status != pb.TASK_STATUS_COMPLETED
        answered.set()
        assert outcome(call).last.status == pb.TASK_STATUS_COMPLETED


def test_what_a_client_says_wins_and_must_be_one_of_the_words(shop: GrpcApi) -> None:
    answered = shop.push([metadata(), batch(1, ROW)], ("x-fluxport-responses", "stream"))
    assert len(answered.answers) >= 3
    refused = shop.push([metadata(), batch(1, ROW)], ("x-fluxport-responses", "last"))
    assert (refused.code, refused.word) == (StatusCode.INVALID_ARGUMENT, "INVALID_METADATA")


def test_a_client_of_the_old_proto_gets_errors_as_a_status(shop: GrpcApi) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        one_answer(shop, [metadata(), batch(1, ROW[:2])], ("x-fluxport-responses", "final"))
    error: Any = raised.value
    trailers = dict(error.trailing_metadata())
    assert (error.code(), trailers["x-fluxport-error-code"]) == (StatusCode.INVALID_ARGUMENT, "VALIDATION_ERROR")
    assert shop.status(trailers["x-fluxport-task-id"]).status == pb.TASK_STATUS_FAILED


def test_the_same_request_id_with_the_same_metadata_is_the_same_task(shop: GrpcApi) -> None:
    requested = metadata("order-export-17")
    first = shop.push([requested, batch(1, ROW)])
    again = shop.push([requested, batch(1, ROW)])
    assert (again.last.task_id, again.last.checksum_sha256) == (first.last.task_id, first.last.checksum_sha256)
    assert again.file() == first.file()
    assert len([path for path in shop.files() if first.last.task_id in path.name]) == 1
    other = shop.push([metadata("order-export-17", filename="another"), batch(1, ROW)])
    assert other.code is StatusCode.ALREADY_EXISTS
    elsewhere = shop.push([requested], key=new_key(shop.folder, "third", user="a third shop"))
    assert elsewhere.last.task_id != first.last.task_id


def test_two_that_push_the_same_at_once_get_the_same_result(shop: GrpcApi) -> None:
    requested = metadata("twice-at-once")
    sender = Sender(shop, requested, batch(1, ROW))
    task_id = sender.queued()
    follower = Sender(shop, requested, extra=(("x-fluxport-responses", "stream"),))
    assert follower.queued() == task_id
    sender.end()
    ends = [outcome(each.call).last for each in (sender, follower)]
    assert [(end.status, end.task_id) for end in ends] == [(pb.TASK_STATUS_COMPLETED, task_id)] * 2
    follower.leave()


def test_a_task_that_failed_can_be_tried_again_under_its_request_id(shop: GrpcApi) -> None:
    requested = metadata("second-try")
    failed = shop.push([requested, batch(1, ROW[:1])])
    assert failed.code is StatusCode.INVALID_ARGUMENT
    done = shop.push([requested, batch(1, ROW)])
    assert done.last.status == pb.TASK_STATUS_COMPLETED
    assert done.last.task_id != failed.last.task_id


def test_progress_has_a_percentage_only_with_a_known_total(shop: GrpcApi) -> None:
    known, unknown = Sender(shop, metadata(expected_rows=40)), Sender(shop, metadata())
    for sender, percent in ((known, 5.0), (unknown, 0.0)):
        task_id = sender.queued()
        sender.send(batch(1, ROW, ROW))
        reached = next(answer for answer in sender.call if answer.record_count == 2)
        assert (reached.status, reached.progress_percent) == (pb.TASK_STATUS_PROCESSING, percent)
        wait_until(lambda task_id=task_id: shop.status(task_id).records_processed == 2)
        reported = shop.status(task_id)
        assert (reported.progress_percent, reported.format, reported.filename) == (percent, pb.FORMAT_CSV, "people")
        assert (reported.estimated_time_remaining > 0) == (percent > 0)
        sender.send(batch(2, *[ROW] * 38))
        sender.end()
        done = outcome(sender.call).last
        assert (done.status, done.progress_percent) == (pb.TASK_STATUS_COMPLETED, 100.0)
        assert shop.status(task_id).estimated_time_remaining == 0


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_client_that_cancels_leaves_a_failed_task_and_nothing_stored(shop: GrpcApi) -> None:
    before = shop.files()
    sender = Sender(shop, metadata(), *people(3_000))
    task_id = sender.queued()
    sender.leave()
    reported = shop.ended(task_id)
    assert (reported.status, reported.error_code, reported.oss_url) == (pb.TASK_STATUS_FAILED, "STREAM_ERROR", "")
    wait_until(lambda: shop.files() == before)


KILLED = """
import sys, time
sys.path[:0] = sys.argv[3:]
import grpc
from fluxport.grpc import export_pb2_grpc as pb_grpc
from grpc_support import metadata, people
def requests():
    yield metadata(sys.argv[1] + "-killed")
    yield from people(200_000, 500)
    time.sleep(60)
channel = grpc.insecure_channel(sys.argv[1])
key = [("authorization", "Bearer " + sys.argv[2])]
call = pb_grpc.ExportServiceStub(channel).StreamExport(requests(), metadata=key)
for answer in call:
    print(answer.task_id, answer.record_count, flush=True)
"""


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_a_client_that_is_killed_leaves_a_failed_task_and_nothing_stored(shop: GrpcApi, rows: int) -> None:
    before = shop.files()
    command = [sys.executable, "-c", KILLED, shop.target, shop.key, str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            task_id, counted = line.split()
            if int(counted) >= rows:
                break
        client.kill()
    reported = shop.ended(task_id)
    assert (reported.status, reported.error_code) == (pb.TASK_STATUS_FAILED, "STREAM_ERROR")
    wait_until(lambda: shop.files() == before)


def test_a_connection_that_breaks_right_after_the_last_row_does_not_end_the_rows(shop: GrpcApi) -> None:
    """Killed in the middle many times: none may count as complete."""
    for number in range(25):
        sender = Sender(shop, metadata(), batch(1, ROW))
        task_id = sender.queued()
        sender.send(batch(2, *[ROW] * (number * 10)))
        sender.leave()
        assert shop.ended(task_id).status == pb.TASK_STATUS_FAILED


def test_a_running_task_can_be_canceled(shop: GrpcApi) -> None:
    before = shop.files()
    sender = Sender(shop, metadata(), batch(1, ROW))
    task_id = sender.queued()
    reported = shop.cancel(task_id)
    assert (reported.status, reported.error_code) == (pb.TASK_STATUS_FAILED, "CANCELED")
    done = outcome(sender.call)
    assert (done.code, done.word) == (StatusCode.CANCELLED, "CANCELED")
    wait_until(lambda: shop.files() == before)
    with pytest.raises(grpc.RpcError) as raised:
        shop.cancel(task_id)
    assert raised.value.code() is StatusCode.FAILED_PRECONDITION
    sender.leave()


# -- beside the other APIs ---------------------------------------------------------------------------------------------


def bearer(to: GrpcApi, key: str, target: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, to.http.base + target, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def test_a_push_is_an_export_like_others(shop: GrpcApi) -> None:
    done = shop.push([metadata(), batch(1, ROW)])
    job = bearer(shop, shop.key, f"/v1/exports/{done.last.task_id}").json()
    assert (job["status"], job["rows"], job["format"]) == ("completed", 1, "csv")
    assert job["source"] == {
        "pushed": [
            {"name": "id", "type": "number"},
            {"name": "name", "type": "string"},
            {"name": "day", "type": "date"},
            {"name": "ok", "type": "boolean"},
        ]
    }
    assert job["files"][0]["sha256"] == done.last.checksum_sha256
    listed = bearer(shop, shop.key, "/v1/exports").json()["data"]
    assert done.last.task_id in [found["id"] for found in listed]
    measured = shop.http.plain_get("/metrics").text
    assert re.search(r'^fluxport_grpc_calls_total\{method="StreamExport",status="OK"\} [1-9]', measured, re.MULTILINE)
    assert re.search(r"^export_records_processed_total [1-9]", measured, re.MULTILINE)


def test_a_push_can_be_canceled_over_http(shop: GrpcApi) -> None:
    sender = Sender(shop, metadata(), batch(1, ROW))
    assert bearer(shop, shop.key, f"/v1/exports/{sender.queued()}", "DELETE").status_code == 200
    assert outcome(sender.call).code is StatusCode.CANCELLED
    sender.leave()


def test_no_link_key_or_value_is_logged(shop: GrpcApi) -> None:
    done = shop.push([metadata(), batch(1, ("1", "very private", "", ""), ("x-marks", *ROW[1:]))])
    assert done.code is StatusCode.INVALID_ARGUMENT
    shop.push([metadata(), batch(1, ("1", "very private", "", ""))]).file()
    logs = "".join(path.read_text() for path in shop.folder.glob("serve-*.log"))
    assert "StreamExport" in logs
    assert not re.search(r"token=|fxp_|very private|x-marks", logs)


def test_health_and_reflection_are_served(shop: GrpcApi) -> None:
    with shop.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "export.ExportService"):
            reported = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert reported.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "export.ExportService" in database.get_services()
        assert b"StreamExport" in database.FindFileContainingSymbol("export.ExportService").SerializeToString()


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    settings = {"TASKS_MAX": "2", "QUEUE_MAX": "1", "QUEUE_S": "2", "BATCH_ROWS_MAX": "10", "ANSWERS": "stream"}
    environ = {f"FLUXPORT_GRPC__{name}": value for name, value in settings.items()}
    with grpc_api(tmp_path_factory.mktemp("small"), **environ) as found:
        yield found


def test_running_and_waiting_pushes_are_limited_and_more_are_refused(small: GrpcApi) -> None:
    running = [Sender(small, metadata(), batch(1, ROW)) for _ in range(2)]
    for sender in running:
        task_id = sender.queued()
        wait_until(lambda task_id=task_id: small.status(task_id).status == pb.TASK_STATUS_PROCESSING)
    waiting = Sender(small, metadata(), batch(1, ROW))
    task_id = waiting.queued()
    assert small.status(task_id).status == pb.TASK_STATUS_QUEUED
    refused = small.push([metadata(), batch(1, ROW)])
    assert (refused.code, refused.word) == (StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    running[0].end()
    waiting.end()
    assert outcome(running[0].call).last.status == pb.TASK_STATUS_COMPLETED
    assert outcome(waiting.call).last.status == pb.TASK_STATUS_COMPLETED
    running[1].end()
    assert outcome(running[1].call).last.status == pb.TASK_STATUS_COMPLETED


def test_a_task_that_waits_too_long_fails_with_queue_timeout(small: GrpcApi) -> None:
    running = [Sender(small, metadata(), batch(1, ROW)) for _ in range(2)]
    for sender in running:
        sender.queued()
    late = small.push([metadata(), batch(1, ROW)])
    assert (late.code, late.word) == (StatusCode.DEADLINE_EXCEEDED, "QUEUE_TIMEOUT")
    assert small.status(late.last.task_id).error_code == "QUEUE_TIMEOUT"
    for sender in running:
        sender.end()
        assert outcome(sender.call).last.status == pb.TASK_STATUS_COMPLETED


def test_a_waiting_task_can_be_canceled_and_can_lose_its_client(small: GrpcApi) -> None:
    running = [Sender(small, metadata(), batch(1, ROW)) for _ in range(2)]
    for sender in running:
        sender.queued()
    waiting = Sender(small, metadata())
    assert small.cancel(waiting.queued()).status == pb.TASK_STATUS_FAILED
    assert outcome(waiting.call).code is StatusCode.CANCELLED
    gone = Sender(small, metadata())
    task_id = gone.queued()
    gone.leave()
    assert small.ended(task_id).error_code == "STREAM_ERROR"
    for sender in running:
        sender.end()
        assert outcome(sender.call).last.status == pb.TASK_STATUS_COMPLETED


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    settings = {"FLUXPORT_GRPC__TASKS_MAX": "1", "FLUXPORT_GRPC__QUEUE_MAX": "3"}
    with grpc_api(tmp_path_factory.mktemp("single"), **settings) as found:
        yield found


def test_a_client_of_the_old_proto_that_waits_its_turn_gets_one_answer(single: GrpcApi) -> None:
    """The headers come when all its rows have arrived, while its task waits; from then on it is sent only the last."""
    running = Sender(single, metadata(), batch(1, ROW))
    running.queued()
    with single.channel() as channel:
        call = old_stub(channel).future(iter([metadata(), batch(1, ROW)]), metadata=single.metadata, timeout=60)
        task_id = dict(call.initial_metadata())["x-fluxport-task-id"]
        assert single.status(task_id).status == pb.TASK_STATUS_QUEUED
        running.end()
        answer = call.result()
    assert (answer.task_id, answer.status, answer.record_count) == (task_id, pb.TASK_STATUS_COMPLETED, 1)
    assert outcome(running.call).last.status == pb.TASK_STATUS_COMPLETED


def test_a_client_of_the_old_proto_that_repeats_a_running_push_gets_one_answer(single: GrpcApi) -> None:
    requests = [metadata("repeated-by-an-old-stub"), batch(1, ROW)]
    running = Sender(single, *requests)
    task_id = running.queued()
    with single.channel() as channel:
        call = old_stub(channel).future(iter(requests), metadata=single.metadata, timeout=60)
        assert dict(call.initial_metadata())["x-fluxport-task-id"] == task_id
        running.end()
        answer = call.result()
    assert (answer.task_id, answer.status, answer.record_count) == (task_id, pb.TASK_STATUS_COMPLETED, 1)
    assert outcome(running.call).last.status == pb.TASK_STATUS_COMPLETED


def test_a_client_that_waits_for_an_answer_gets_one_although_its_task_waits(single: GrpcApi) -> None:
    running = Sender(single, metadata(), batch(1, ROW))
    running.queued()
    waiting = Sender(single, metadata())
    assert next(waiting.call).status == pb.TASK_STATUS_QUEUED
    waiting.send(batch(1, ROW))
    waiting.end()
    running.end()
    reported = [answer.status for answer in outcome(waiting.call).answers]
    assert [state for state in reported if state != pb.TASK_STATUS_PROCESSING] == [
        pb.TASK_STATUS_UPLOADING,
        pb.TASK_STATUS_COMPLETED,
    ]
    assert outcome(running.call).last.status == pb.TASK_STATUS_COMPLETED


def test_a_client_that_has_ended_its_rows_and_disconnects_before_its_turn_fails_its_task(single: GrpcApi) -> None:
    """It also leaves the queue: the next one gets the turn."""
    running = Sender(single, metadata(), batch(1, ROW))
    running.queued()
    before = single.files()
    with single.channel() as channel:
        gone = old_stub(channel).future(iter([metadata(), batch(1, ROW)]), metadata=single.metadata, timeout=60)
        task_id = dict(gone.initial_metadata())["x-fluxport-task-id"]
        gone.cancel()
        reported = single.ended(task_id)
        assert (reported.status, reported.error_code) == (pb.TASK_STATUS_FAILED, "STREAM_ERROR")
    assert single.files() == before
    running.end()
    assert outcome(running.call).last.status == pb.TASK_STATUS_COMPLETED
    assert one_answer(single, [metadata(), batch(1, ROW)]).status == pb.TASK_STATUS_COMPLETED


def test_a_task_that_waits_is_not_reported_as_uploading(single: GrpcApi) -> None:
    """Although all its rows have arrived, which they have long before the service has answered twenty other calls."""
    running = Sender(single, metadata(), batch(1, ROW))
    running.queued()
    with single.channel() as channel:
        call = pb_grpc.ExportServiceStub(channel).StreamExport(
            iter([metadata(), batch(1, ROW)]),
            metadata=(*single.metadata, ("x-fluxport-responses", "stream")),
            timeout=60,
        )
        task_id = next(call).task_id
        assert {single.status(task_id).status for _ in range(20)} == {pb.TASK_STATUS_QUEUED}
        single.cancel(task_id)
        assert [answer.status for answer in outcome(call).answers] == [pb.TASK_STATUS_FAILED]
    running.end()
    assert outcome(running.call).last.status == pb.TASK_STATUS_COMPLETED


def test_a_message_over_the_limit_fails_a_task_that_waits(single: GrpcApi) -> None:
    running = Sender(single, metadata(), batch(1, ROW))
    running.queued()
    waiting = Sender(single, metadata())
    task_id = waiting.queued()
    waiting.send(batch(1, ("1", "x" * (5 << 20), "", "")))
    assert outcome(waiting.call).code is StatusCode.RESOURCE_EXHAUSTED
    assert single.ended(task_id).error_code == "STREAM_ERROR"
    running.end()
    assert outcome(running.call).last.status == pb.TASK_STATUS_COMPLETED
    waiting.leave()


def test_a_client_is_not_idle_before_its_turn(tmp_path: Path) -> None:
    """Neither one that sends nothing nor one whose rows are more than may be read ahead."""
    answered = threading.Event()

    def busy() -> Iterator[pb.ExportRequest]:
        yield metadata()
        while not answered.wait(0.05):
            yield batch(0, ROW)

    settings = {"TASKS_MAX": "1", "IDLE_S": "1", "ANSWERS": "stream"}
    with (
        grpc_api(tmp_path, **{f"FLUXPORT_GRPC__{name}": value for name, value in settings.items()}) as found,
        found.channel() as channel,
    ):
        running = pb_grpc.ExportServiceStub(channel).StreamExport(busy(), metadata=found.metadata, timeout=60)
        next(answer for answer in running if answer.status == pb.TASK_STATUS_PROCESSING)
        silent, blocked = Sender(found, metadata()), Sender(found, metadata(), *people(100_000))
        waiting = [sender.queued() for sender in (silent, blocked)]
        for _ in range(3):  # the progress comes once a second
            assert next(running).status == pb.TASK_STATUS_PROCESSING
        assert [found.status(task_id).status for task_id in waiting] == [pb.TASK_STATUS_QUEUED] * 2
        answered.set()
        silent.end()
        blocked.end()
        ends = [outcome(sender.call).last for sender in (silent, blocked)]
        assert [(end.status, end.record_count) for end in ends] == [
            (pb.TASK_STATUS_COMPLETED, 0),
            (pb.TASK_STATUS_COMPLETED, 100_000),
        ]
        assert outcome(running).last.status == pb.TASK_STATUS_COMPLETED


def test_a_refused_push_whose_client_still_sends_logs_no_error(tmp_path: Path) -> None:
    with grpc_api(tmp_path) as found:
        for _ in range(10):
            sender = Sender(found, metadata(), batch(1, ROW[:2]))
            assert outcome(sender.call).code is StatusCode.INVALID_ARGUMENT
            sender.leave()
    text = "".join(log.read_text() for log in tmp_path.glob("serve-*.log"))
    entries = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [entry["event"] for entry in entries].count("TaskFailed") == 10
    assert [entry for entry in entries if entry["level"] == "error" or entry["component"] == "asyncio"] == []
    assert "Traceback" not in text


def test_a_batch_of_too_many_rows_is_refused(small: GrpcApi) -> None:
    done = small.push([metadata(), batch(1, *[ROW] * 11)])
    assert (done.code, done.word) == (StatusCode.INVALID_ARGUMENT, "VALIDATION_ERROR")


# -- the service's own end ---------------------------------------------------------------------------------------------


def test_a_service_that_ends_lets_what_runs_finish_and_fails_what_does_not(tmp_path: Path) -> None:
    with grpc_api(tmp_path, FLUXPORT_SERVER__GRACE_S="3") as found:
        finishing, stuck = Sender(found, metadata(), batch(1, ROW)), Sender(found, metadata(), batch(1, ROW))
        ids = [finishing.queued(), stuck.queued()]
        wait_until(lambda: found.status(ids[0]).status == pb.TASK_STATUS_PROCESSING)
        os.kill(found.http.pid, signal.SIGTERM)
        wait_until(lambda: _refused(found))
        with found.channel() as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            reported = health.Check(health_pb2.HealthCheckRequest(service="export.ExportService"), timeout=10)
            assert reported.status == health_pb2.HealthCheckResponse.NOT_SERVING
        finishing.send(batch(2, ROW))
        finishing.end()
        assert outcome(finishing.call).last.record_count == 2
        done = outcome(stuck.call)
        assert (done.code, done.word) == (StatusCode.UNAVAILABLE, "STREAM_ERROR")
        stuck.leave()
    assert len(found.files()) == 1


def _refused(to: GrpcApi) -> bool:
    """The status of a push that fails in any case."""
    return to.push([metadata(expected_rows=9)]).code is StatusCode.UNAVAILABLE


# -- without a key, and with certificates ------------------------------------------------------------------------------


def test_programs_of_named_networks_need_no_key(tmp_path: Path) -> None:
    with grpc_api(tmp_path, FLUXPORT_GRPC__KEYLESS='["127.0.0.0/8"]') as found:
        assert found.push([metadata(), batch(1, ROW)], key="").last.status == pb.TASK_STATUS_COMPLETED
        assert found.push([metadata()], key=f"fxp_{'a' * 12}_{'b' * 43}").code is StatusCode.UNAUTHENTICATED
        of_another_system = found.push([metadata(), batch(1, ROW)], key="eyJhbGciOiJIUzI1NiJ9.e30.x")
        assert of_another_system.last.status == pb.TASK_STATUS_COMPLETED


def test_keys_and_networks_get_the_answers_that_are_set_for_them(tmp_path: Path) -> None:
    settings = {
        "FLUXPORT_GRPC__KEYLESS": '["127.0.0.0/8"]',
        "FLUXPORT_GRPC__ANSWERS_OF": '{"old-shop": "final", "127.0.0.0/8": "stream"}',
    }
    with grpc_api(tmp_path, **settings) as found:
        old = new_key(tmp_path, "old-shop")
        assert len(found.push([metadata(), batch(1, ROW)], key="").answers) >= 3
        assert one_answer(found, [metadata(), batch(1, ROW)], key=old).status == pb.TASK_STATUS_COMPLETED
        failed = found.push([metadata(), batch(1, ROW[:2])], key=old)
        assert (failed.code, failed.answers) == (StatusCode.INVALID_ARGUMENT, [])


def test_only_clients_with_a_certificate_of_the_right_authority_get_in(tmp_path: Path) -> None:
    make_certificates(tmp_path / "server", "localhost", "127.0.0.1")
    make_certificates(tmp_path / "client", "shop")
    make_certificates(tmp_path / "stranger", "stranger")
    settings = {
        "TLS_CERTIFICATE": tmp_path / "server" / "server.pem",
        "TLS_KEY": tmp_path / "server" / "server.key",
        "CLIENT_CA": tmp_path / "client" / "ca.pem",
    }
    with grpc_api(tmp_path, **{f"FLUXPORT_GRPC__{name}": str(path) for name, path in settings.items()}) as found:
        assert found.push([metadata()]).code is StatusCode.UNAVAILABLE
        for name, code in (("stranger", StatusCode.UNAVAILABLE), ("client", StatusCode.OK)):
            found.credentials = grpc.ssl_channel_credentials(
                (tmp_path / "server" / "ca.pem").read_bytes(),
                (tmp_path / name / "server.key").read_bytes(),
                (tmp_path / name / "server.pem").read_bytes(),
            )
            assert found.push([metadata(), batch(1, ROW)]).code is code, name
        assert found.push([metadata()], key="").code is StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TLS_CERTIFICATE": "server.pem"}, "tls_key"),
        ({"TLS_CERTIFICATE": "nowhere.pem", "TLS_KEY": "nowhere.key"}, "grpc.tls_key"),
        ({"STORE": "moon"}, "grpc.store"),
        ({"KEYLESS": '["everybody"]'}, "everybody"),
    ],
)
def test_an_unusable_configuration_is_reported_at_the_start(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    environ = {"API_SECRET": SECRET} | {f"FLUXPORT_GRPC__{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "fluxport", "serve", "--port", "0", "--no-worker"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_reported(shop: GrpcApi, tmp_path: Path) -> None:
    port = shop.target.rpartition(":")[2]
    command = [sys.executable, "-m", "fluxport", "serve", "--port", "0", "--grpc-port", port, "--no-worker"]
    environ = os.environ | {"FLUXPORT_GRPC__ENABLED": "true"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"127.0.0.1:{port} for gRPC" in done.stderr
    assert "--grpc-port" in done.stderr
