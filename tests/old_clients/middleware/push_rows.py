"""Pushes rows as a program of the export middleware: no metadata, no key.

Usage: push_rows.py TARGET ROWS CSV|EXCEL ONE|MANY

The modules generated from export.proto are beside it: from the old proto (ONE), or from the same with "stream" before
ExportResponse (MANY). With MANY the task's id is read before the rows are sent.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import grpc

pb: Any = import_module("export_pb2")
stubs: Any = import_module("export_pb2_grpc")
BATCH = 1000


def described(rows: int, format: str, kind: str) -> Any:
    columns = [
        pb.ColumnDefinition(name="id", data_type=pb.DATA_TYPE_NUMBER),
        pb.ColumnDefinition(name="name", data_type=pb.DATA_TYPE_STRING),
    ]
    request_id = f"python-{kind}-{format}-{rows}"
    metadata = pb.ExportMetadata(request_id=request_id, format=f"FORMAT_{format}", filename="orders", columns=columns)
    return pb.ExportRequest(metadata=metadata)


def batches(rows: int) -> Iterator[Any]:
    for number, start in enumerate(range(0, rows, BATCH)):
        records = [pb.Record(values=(str(i), f"name {i}")) for i in range(start, min(start + BATCH, rows))]
        yield pb.ExportRequest(batch=pb.DataBatch(records=records, batch_sequence=number))


def main(target: str, rows: int, format: str, kind: str) -> None:
    queued = threading.Event()
    ready = list(batches(rows))  # so that the program does not pause

    def requests() -> Iterator[Any]:
        yield described(rows, format, kind)
        if kind == "MANY":
            queued.wait(60)
        yield from ready

    with grpc.insecure_channel(target) as channel:
        call = stubs.ExportServiceStub(channel).StreamExport(requests(), timeout=120)
        responses = [call] if kind == "ONE" else []
        if kind == "MANY":
            for response in call:
                responses.append(response)
                queued.set()
    last = responses[-1]
    print(len(responses), pb.TaskStatus.Name(last.status), last.record_count, last.oss_url)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
