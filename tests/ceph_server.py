"""A private, real S3 server: Ceph's object gateway over one monitor and one object store in memory, on free ports of
127.0.0.1. It verifies every signature and stores what it is sent; Debian packages it (radosgw, ceph-mon, ceph-osd).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from own_servers import STARTS_S, free_ports, listens
from services import require_program

ACCESS_KEY = "FLUXPORTTESTKEY"
SECRET_KEY = secrets.token_hex(20)
REGION = "default"

_CONFIG = """
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]
public_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 2
osd_pool_default_pgp_num = 2
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 4294967296
mon_data = {folder}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_max_pg_per_osd = 1000
osd_data = {folder}/osd
run_dir = {folder}/run
log_file = {folder}/log/$name.log
admin_socket = {folder}/run/$name.asok
pid_file = {folder}/run/$name.pid
rgw_enable_apis = s3
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 2
rgw_gc_processor_max_time = 2
rgw_dns_name = localhost
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_data = {folder}/rgw
"""


@dataclass(frozen=True)
class Ceph:
    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION


@contextlib.contextmanager
def ceph_server() -> Iterator[Ceph]:
    """Runs while entered. It takes half a minute to start, so it is shared by all tests."""
    for program in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool", "ceph-authtool"):
        require_program(program)
    folder = Path(tempfile.mkdtemp(prefix="fluxport-ceph-"))  # short: socket names have 107 characters
    mon1, mon2, port = free_ports(3)
    for name in ("mon", "osd", "rgw", "run", "log"):
        (folder / name).mkdir()
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    config = folder / "ceph.conf"
    config.write_text(_CONFIG.format(fsid=fsid, mon1=mon1, mon2=mon2, port=port, folder=folder))
    environ = os.environ | {"CEPH_CONF": str(config), "CEPH_ARGS": f"-c {config}"}
    running: list[subprocess.Popen[bytes]] = []

    def run(*words: str) -> bytes:
        return subprocess.run(words, env=environ, check=True, capture_output=True, timeout=STARTS_S).stdout

    def start(*words: str) -> None:
        log = (folder / "log" / words[0]).open("ab")
        running.append(subprocess.Popen(words, env=environ, stdout=log, stderr=log))
        log.close()

    try:
        _keys(run, folder)
        run("monmaptool", "--create", "--fsid", fsid, "--clobber", str(folder / "monmap"))
        address = f"[v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]"
        run("monmaptool", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap"))
        run("ceph-mon", "-i", "a", "--mkfs", "--monmap", str(folder / "monmap"), "--keyring", str(folder / "keyring"))
        start("ceph-mon", "-f", "-i", "a")
        run("ceph", "osd", "new", osd)
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        start("ceph-osd", "-f", "-i", "0")
        start("radosgw", "-f", "-n", "client.rgw", "--keyring", str(folder / "keyring"))
        if not listens(port, running):
            ended = [process.args for process in running if process.poll() is not None]
            raise AssertionError(f"Ceph did not start: {json.dumps(ended, default=str)}")
        run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "fluxport", "--display-name", "fluxport",
            "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)  # fmt: skip
        yield Ceph(f"http://127.0.0.1:{port}")
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _keys(run: object, folder: Path) -> None:
    assert callable(run)
    keyring = str(folder / "keyring")
    run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    for name, mon, more in (
        ("client.admin", "allow *", ("--cap", "mgr", "allow *")),
        ("client.rgw", "allow *", ("--cap", "mgr", "allow *")),
        ("osd.0", "allow profile osd", ()),
    ):
        run("ceph-authtool", keyring, "--gen-key", "-n", name, "--cap", "mon", mon, "--cap", "osd", "allow *", *more)
