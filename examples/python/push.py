"""Push the rows of a CSV file to Fluxport over gRPC, fetch the finished file, and prove that it is complete.

    pip install grpcio grpcio-tools
    export FLUXPORT_GRPC=127.0.0.1:9090 FLUXPORT_KEY=fxp_...    # fluxport keys create NAME --user YOU --scope push
    python3 push.py orders.csv orders.xlsx

A column's type may follow its name in the header: id:number, name, day:date, paid:boolean. The format is the suffix of
the second file: csv, xlsx, jsonl or parquet. It gets its name only if rows, bytes and SHA-256 match the service's.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc

HERE = Path(__file__).resolve().parent
# export.proto is here, or in the installed package; its Python code is generated now.
sys.path += [str(HERE), str(HERE.parents[1] / "src" / "fluxport" / "grpc")]
messages, services = grpc.protos_and_services("export.proto")

FORMATS = {".csv": "FORMAT_CSV", ".xlsx": "FORMAT_EXCEL", ".jsonl": "FORMAT_JSONL", ".parquet": "FORMAT_PARQUET"}
ROWS_PER_BATCH = 1000


def requests(source: Path, target: Path) -> Iterator[object]:
    """The metadata, then the rows in numbered batches; gRPC takes the next one when the service has room for it."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        columns = []
        for cell in next(rows):
            name, _, kind = cell.partition(":")
            columns.append(messages.ColumnDefinition(name=name, data_type=f"DATA_TYPE_{(kind or 'string').upper()}"))
        yield messages.ExportRequest(
            metadata=messages.ExportMetadata(
                request_id=str(uuid.uuid4()),  # store it: a retry with the same id is the same task
                format=FORMATS[target.suffix],
                filename=target.name,
                columns=columns,
            )
        )
        number, records = 1, []
        for row in rows:
            records.append(messages.Record(values=row))
            if len(records) == ROWS_PER_BATCH:
                yield messages.ExportRequest(batch=messages.DataBatch(records=records, batch_sequence=number))
                number, records = number + 1, []
        if records:
            yield messages.ExportRequest(batch=messages.DataBatch(records=records, batch_sequence=number))


def push(source: Path, target: Path) -> object:
    """The last response, which describes the finished file."""
    metadata = [("authorization", f"Bearer {os.environ['FLUXPORT_KEY']}")]
    with grpc.insecure_channel(os.environ.get("FLUXPORT_GRPC", "127.0.0.1:9090")) as channel:
        answer = None
        for answer in services.ExportServiceStub(channel).StreamExport(requests(source, target), metadata=metadata):
            print(f"{messages.TaskStatus.Name(answer.status)} {answer.record_count} rows", file=sys.stderr)
    return answer


def fetch(answer: object, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(answer.oss_url, timeout=60) as body, part.open("wb") as file:
            while chunk := body.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        if (size, digest.hexdigest()) != (answer.file_size_bytes, answer.checksum_sha256):
            raise OSError("the file differs from the one the service stored")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def main() -> int:
    if len(sys.argv) != 3 or Path(sys.argv[2]).suffix not in FORMATS or "FLUXPORT_KEY" not in os.environ:
        print("usage: FLUXPORT_KEY=... python3 push.py ROWS.csv FILE.csv|.xlsx|.jsonl|.parquet", file=sys.stderr)
        return 2
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        answer = push(source, target)
        fetch(answer, target)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{target.name}: {answer.record_count} rows, {answer.file_size_bytes} bytes, sha256 {answer.checksum_sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
