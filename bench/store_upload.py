"""A stream of unknown length into a bucket of a real S3 server (Ceph) on this machine: ours and other libraries.

    python bench/store_upload.py [--megabytes 1000] [--runs 3] [--save]

Whole processes take turns; the size of every object is checked, and a wrong one does not count. Ceph runs on the same
cores, so rates include its work: CPU seconds and memory are the client's alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import support
from support import Command, Missing, Result

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

PEERS = ("fluxport", "obstore", "boto3", "s3fs")
BUCKET = "fluxport-bench"


def main() -> None:
    from ceph_server import ceph_server

    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    report = support.Report()
    report.lines(support.machine("boto3"))
    with ceph_server() as ceph:
        client = bucket_of(ceph)
        results = {library: Result() for library in PEERS}
        for turn in range(options.runs):
            for library, result in results.items():
                name = f"{library}-{turn}"
                words = [ceph.endpoint, ceph.access_key, ceph.secret_key, BUCKET, name, str(options.megabytes)]
                python = sys.executable if library == "fluxport" else support.peers_python()
                peer = [python, Path(__file__).with_name("store_peers.py"), library, *words]
                try:
                    wall, cpu, peak = support.run(Command(peer, support.scratch(name)))
                except Missing as why:
                    result.note = str(why)
                    continue
                stored = client.head_object(Bucket=BUCKET, Key=name)["ContentLength"]
                client.delete_object(Bucket=BUCKET, Key=name)
                if stored != options.megabytes << 20:
                    result.note = f"{stored:,} bytes arrived"
                    continue
                result.wall.append(wall)
                result.cpu.append(cpu)
                result.peak_mb = max(result.peak_mb, peak)
    report.line(f"load after {os.getloadavg()[0]:.2f}")
    report.lines(table(f"{options.megabytes} MiB into a bucket", results, options.megabytes))
    if options.save:
        report.save("store-upload")


def bucket_of(ceph: Any) -> Any:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=ceph.endpoint,
        aws_access_key_id=ceph.access_key,
        aws_secret_access_key=ceph.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET)
    return client


def table(title: str, results: dict[str, Result], megabytes: float | None = None) -> list[str]:
    lines = [title, f"{'':<28}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}" + (f"{'MB/s':>8}" if megabytes else "")]
    for name, result in results.items():
        if not result.wall:
            lines.append(f"{name:<28}missing: {result.note}")
            continue
        rate = f"{megabytes * 1.048576 / result.wall_s:>8.0f}" if megabytes else ""
        lines.append(f"{name:<28}{result.wall_s:>9.2f}{result.cpu_s:>8.2f}{result.peak_mb:>9.0f}{rate}")
    return lines


if __name__ == "__main__":
    main()
