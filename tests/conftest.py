"""Servers that are slow to start, once for all tests that ask for them; property tests without a clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from azurite_server import Azurite, azurite_server
from ceph_server import Ceph, ceph_server
from sftp_server import Sftp, proftpd_server, sftp_server

# Whatever else the machine does: how long an example takes says nothing about it.
settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


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
def proftpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    with proftpd_server(tmp_path_factory.mktemp("proftpd")) as running:
        yield running
