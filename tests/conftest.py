"""Fixtures: servers that are slow to start, shared by all tests or by those of a module; property tests without a
deadline; signals handled as on a terminal."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from api_document import watching
from azurite_server import Azurite, azurite_server
from ceph_server import Ceph, ceph_server
from export_places import ROWS, Place, in_ceph, in_folder
from fluxport.jobs.store import JobStore
from identity_support import DATABASES, Clock, database_url, empty_store
from reach import reaches_out
from service_support import emulator, service
from sftp_server import Sftp, proftpd_server, sftp_server
from store_support import s3_environ
from webdav_server import Webdav, webdav_server

# A package of its own, which test_stranger.py installs and tests.
collect_ignore = ["stranger_format"]

# Whatever else the machine does: how long an example takes says nothing about it.
settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# A shell has what it runs in the background ignore these, and the programs that the tests start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make test-fast`` leaves out."""
    for item in items:
        if isinstance(item, pytest.Function) and reaches_out(item):
            item.add_marker("service")


@pytest.fixture(scope="session", autouse=True)
def _answers_are_as_described() -> Iterator[None]:
    if importlib.util.find_spec("jsonschema") is None and os.environ.get("CI") != "true":
        yield  # an environment from before pyproject.toml named it
        return
    with watching():
        yield


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    with ceph_server() as running:
        yield running


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    with azurite_server() as running:
        yield running


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    with sftp_server(tmp_path_factory.mktemp("sftp")) as running:
        yield running


@pytest.fixture(scope="session")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webdav]:
    with webdav_server(tmp_path_factory.mktemp("webdav")) as running:
        yield running


@pytest.fixture(scope="session")
def proftpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    with proftpd_server(tmp_path_factory.mktemp("proftpd")) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as url:
        yield url


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, source: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Of a kind of database and of store, which a test gives by ``indirect``."""
    kind, store = request.param
    folder = tmp_path_factory.mktemp("place")
    environ, files = {"LOCAL_STORAGE_PATH": str(folder / "exports")}, in_folder(folder / "exports")
    if store == "s3":
        ceph = request.getfixturevalue("ceph")
        environ, files = s3_environ(ceph), in_ceph(ceph)
    with database_url(kind, folder) as database:
        environ |= {"FLUXPORT_DATABASE": database, "MYSQL_DSN": source}
        with service(folder, source, "--no-worker", **environ) as client:
            yield Place(client, folder, database, environ, files)


@pytest.fixture(scope="module", params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the service's own database, of each kind."""
    with database_url(request.param, tmp_path_factory.mktemp("database")) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[JobStore]:
    """Empty, in that database, under a clock that the test moves."""
    with empty_store(url, clock) as made:
        yield made
