"""Users from MySQL into a bucket of a real S3 server (Ceph) on this machine, as CSV.gz and XLSX: whole processes.

    python bench/store_export.py [--rows 10000000] [--runs 2] [--url mysql://...] [--save]

Compared with a pipe of `mysql`, `gzip` and `aws s3 cp -`, and with sling. Ceph and MariaDB run on the same cores.
Memory is the largest process of each contender; ours is also measured with a twentieth of the rows, to show that it is
constant.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import support
from export_mysql import login
from store_upload import BUCKET, bucket_of, table
from support import Command, Missing, Result

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def fluxport(url: str, query: str, key: str) -> Command:
    target = f"s3://{BUCKET}/{key}"
    return Command([support.FLUXPORT, "export", query, "--from", url, "--to", target, "--quiet"], support.scratch("s"))


def pipe(url: str, query: str, key: str) -> Command:
    words = " ".join(login(url))
    aws = support.program("aws")
    line = (
        f"mysql {words} --batch --quick -e '{query}' | gzip -1 | {aws} s3 cp --only-show-errors - s3://{BUCKET}/{key}"
    )
    return Command(["bash", "-o", "pipefail", "-c", line], support.scratch("s"))


def sling(url: str, query: str, key: str) -> Command:
    os.environ["SOURCE"] = url
    os.environ["TARGET"] = "s3://" + BUCKET
    os.environ |= {name: os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    os.environ["ENDPOINT"] = os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
    words = ["run", "--src-conn", "SOURCE", "--src-stream", query, "--tgt-object", f"s3://{BUCKET}/{key}"]
    return Command([support.program("sling"), *words], support.scratch("s"))


def main() -> None:
    from ceph_server import ceph_server

    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    report = support.Report()
    report.lines(support.machine())
    names = [support.seeded(options.url, rows) for rows in (options.rows, options.rows // 20)]
    with ceph_server() as ceph:
        client = bucket_of(ceph)
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": ceph.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ceph.access_key,
            "AWS_SECRET_ACCESS_KEY": ceph.secret_key,
        }
        whole, part = (f"SELECT * FROM {name}" for name in names)
        contenders: dict[str, tuple[Any, str, str]] = {
            "fluxport, csv.gz": (fluxport, whole, "ours.csv.gz"),
            "fluxport, xlsx": (fluxport, whole, "ours.xlsx"),
            "fluxport, csv.gz, 1/20": (fluxport, part, "part.csv.gz"),
            "fluxport, xlsx, 1/20": (fluxport, part, "part.xlsx"),
            "mysql | gzip -1 | aws s3 cp": (pipe, whole, "pipe.tsv.gz"),
            "sling, csv.gz": (sling, whole, "sling.csv.gz"),
        }
        results = {name: Result() for name in contenders}
        for _ in range(options.runs):
            for name, (command, query, key) in contenders.items():
                measure(client, results[name], command, options.url, query, key)
    report.line(f"load after {os.getloadavg()[0]:.2f}")
    report.lines(table(f"{options.rows:,} users into a bucket", results))
    if options.save:
        report.save("store-export")


def measure(client: Any, result: Result, command: Any, url: str, query: str, key: str) -> None:
    try:
        wall, cpu, peak = support.run(command(url, query, key))
    except Missing as why:
        result.note = str(why)
        return
    if not client.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents"):
        result.note = "no object"
        return
    client.delete_object(Bucket=BUCKET, Key=key)
    result.wall.append(wall)
    result.cpu.append(cpu)
    result.peak_mb = max(result.peak_mb, peak)


if __name__ == "__main__":
    main()
