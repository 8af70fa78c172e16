"""Rows pushed over gRPC: speed, CPU cost, and memory of the server.

    python bench/push.py [--rows 1000000] [--times 20] [--runs 3] [--clients 10] [--save]

A client in a separate process pushes five columns (two numbers, two texts, a date) in batches of 1,000 rows of text or
of 16,384 rows of Arrow IPC, prepared in advance: the server and the protocol are measured, not the client's work. Time
is from the call to its last response, when the file is stored; memory is the server's growth above its idle size.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import support
from support import Report

COLUMNS = (("id", 2), ("name", 1), ("email", 1), ("created_at", 3), ("score", 2))
PER_BATCH = {"strings": 1_000, "arrow": 16_384}
DISTINCT = 8  # prepared batches, sent repeatedly
GROWTH_MAX_MB, FLAT_MAX_MB = 60.0, 8.0
PROMISED = {"csv": 10_000, "excel": 5_000}


# -- the client, a separate process ----------------------------------------------------------------------------------


def push(target: str, form: str, kind: str, rows: int) -> None:
    """Push so many rows, and print seconds and CPU seconds."""
    import grpc

    from fluxport.grpc import export_pb2 as pb

    batches = [_batch(kind, number) for number in range(DISTINCT)]
    metadata = pb.ExportRequest(
        metadata=pb.ExportMetadata(
            request_id=f"bench-{os.getpid()}-{time.time_ns()}",
            format=f"FORMAT_{form.upper()}",
            filename="bench",
            columns=[pb.ColumnDefinition(name=name, data_type=number) for name, number in COLUMNS],  # type: ignore[arg-type]  # the stubs name the number otherwise
            expected_rows=rows,
        )
    ).SerializeToString()

    def requests() -> Any:
        yield metadata
        for number, start in enumerate(range(0, rows, PER_BATCH[kind])):
            count = min(PER_BATCH[kind], rows - start)
            body = batches[number % DISTINCT] if count == PER_BATCH[kind] else _batch(kind, 0, count)
            body += b"\x10" + _varint(number + 1)  # batch_sequence
            yield b"\x12" + _varint(len(body)) + body

    with grpc.insecure_channel(target) as channel:
        call: Any = channel.stream_stream(
            "/export.ExportService/StreamExport", response_deserializer=pb.ExportResponse.FromString
        )
        used, began = _cpu_s(), time.perf_counter()
        last = list(call(requests()))[-1]
        print(time.perf_counter() - began, _cpu_s() - used)
    if last.record_count != rows:
        raise SystemExit("not all rows are in the file")


def _batch(kind: str, number: int, rows: int | None = None) -> bytes:
    """The records of one DataBatch without its number."""
    from fluxport.grpc import export_pb2 as pb

    first, count = number * 16_384, rows or PER_BATCH[kind]
    values = [
        (str(i), f"name {i}", f"user{i}@example.com", f"2026-01-{i % 28 + 1:02d} 10:{i % 60:02d}:00", f"{i * 0.37:.2f}")
        for i in range(first, first + count)
    ]
    if kind == "strings":
        return pb.DataBatch(records=[pb.Record(values=row) for row in values]).SerializeToString()
    import pyarrow as pa

    columns = list(zip(*values, strict=True))
    types = (pa.int64(), pa.string(), pa.string(), pa.timestamp("s"), pa.float64())
    table = pa.record_batch(
        [pa.array(column, pa.string()).cast(kind) for column, kind in zip(columns, types, strict=True)],
        names=[name for name, _ in COLUMNS],
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(table)
    return pb.DataBatch(arrow_ipc=sink.getvalue().to_pybytes()).SerializeToString()


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# -- measurements ----------------------------------------------------------------------------------------------------


def client(target: str, form: str, kind: str, rows: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--client", target, form, kind, str(rows)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return float(said[0]), float(said[1])


def settings() -> dict[str, str]:
    return {"FLUXPORT_GRPC__KEYLESS": '["127.0.0.0/8"]', "API_SECRET": "devsecret"}


def alone(report: Report, form: str, kind: str, options: argparse.Namespace) -> None:
    """One client: a small push as a warm-up, then the sizes."""
    grown: list[float] = []
    with support.served(settings(), "--no-worker") as (said, pid):
        target = said["gRPC at"]
        client(target, form, kind, 50_000)
        idle = support.status_mb(pid, "VmRSS")
        for rows, runs in ((options.rows, options.runs), (options.rows * options.times, 1)):
            support.reset_peak(pid)
            walls, clients, servers = [], [], []
            for _ in range(runs):
                used = support.cpu_s(pid)
                wall, cpu = client(target, form, kind, rows)
                walls.append(wall)
                clients.append(cpu)
                servers.append(support.cpu_s(pid) - used)
            grown.append(support.status_mb(pid, "VmHWM") - idle)
            best = walls.index(min(walls))
            report.line(
                f"  {form:8} {kind:8} {rows:12,} {walls[best]:8.2f} {rows / walls[best]:12,.0f} "
                f"{clients[best]:10.2f} {servers[best]:10.2f} {idle:8.0f} {grown[-1]:+8.0f}"
            )
            if form in PROMISED:
                rate = rows / walls[best]
                word = "met   " if rate >= PROMISED[form] else "MISSED"
                report.line(f"  {word} {form}, {kind}: {rate:,.0f} rows/s, at least {PROMISED[form]:,} promised")
            if options.times == 1:
                break
    report.line(support.verdict(f"{form}, {kind}, growth of the server", max(grown), GROWTH_MAX_MB, "MB"))
    if len(grown) > 1:
        report.line(
            support.verdict(f"{form}, {kind}, more at {options.times}x", grown[1] - grown[0], FLAT_MAX_MB, "MB")
        )


def together(report: Report, form: str, kind: str, options: argparse.Namespace) -> None:
    """Several clients at once, each with its own push."""
    rows = options.rows // 5
    with support.served(settings(), "--no-worker") as (said, pid):
        target = said["gRPC at"]
        client(target, form, kind, 50_000)
        idle = support.status_mb(pid, "VmRSS")
        support.reset_peak(pid)
        used, began = support.cpu_s(pid), time.perf_counter()
        with ThreadPoolExecutor(options.clients) as threads:
            figures = list(threads.map(lambda _: client(target, form, kind, rows), range(options.clients)))
        wall = time.perf_counter() - began
        grown = support.status_mb(pid, "VmHWM") - idle
        report.line(
            f"  {form:8} {kind:8} {options.clients} x {rows:,} in {wall:.2f} s with the clients' start: "
            f"{options.clients * rows / wall:,.0f} rows/s; "
            f"server CPU {support.cpu_s(pid) - used:.2f} s, {grown:+.0f} MB; slowest call {max(figures)[0]:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--quiet-s", type=float, default=300, help="wait so long at most for a quiet machine")
    parser.add_argument("--client", nargs=4, metavar=("TARGET", "FORMAT", "KIND", "ROWS"), help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    if options.client:
        target, form, kind, rows = options.client
        push(target, form, kind, int(rows))
        return
    support.wait_until_quiet(options.quiet_s)
    report = Report()
    report.lines(support.machine("grpcio", "protobuf"))
    report.line(f"\nOne client, best of {options.runs} (one run of the larger size)")
    head = (
        ("rows", 12),
        ("wall s", 8),
        ("rows/s", 12),
        ("client cpu", 10),
        ("server cpu", 10),
        ("idle MB", 8),
        ("grown", 8),
    )
    report.line(f"  {'':17} " + " ".join(f"{word:>{width}}" for word, width in head))
    for form in ("csv", "excel"):
        for kind in PER_BATCH:
            alone(report, form, kind, options)
    report.line(f"\n{options.clients} clients at once")
    for form in ("csv", "excel"):
        for kind in PER_BATCH:
            together(report, form, kind, options)
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("push")


if __name__ == "__main__":
    main()
