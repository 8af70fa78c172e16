"""Who may push without a key: clients in a network that needs none, whose address is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fluxport.auth.keys import Keys
from fluxport.auth.proxies import Proxies, networks
from fluxport.auth.rate import Rate
from fluxport.errors import Unauthorized
from fluxport.grpc.callers import PushCallers
from fluxport.jobs.store import JobStore

PRIVATE, PUBLIC = "10.1.2.3", "203.0.113.9"


@pytest.fixture
def callers(tmp_path: Path) -> Iterator[PushCallers]:
    """Without a trusted proxy but for 10.9.9.9."""
    with closing(JobStore(f"sqlite:///{tmp_path}/fluxport.db")) as store:
        store.create_tables()
        yield PushCallers(
            Keys(store.engine),
            Rate(600),
            "push",
            "off",
            networks(["10.0.0.0/8", "127.0.0.0/8"]),
            proxies=Proxies(networks(["10.9.9.9"])),
        )


def admitted(callers: PushCallers, peer: str, **metadata: str) -> bool:
    try:
        callers.verified([(name.replace("_", "-"), value) for name, value in metadata.items()], f"ipv4:{peer}:5000")
    except Unauthorized:
        return False
    return True


def test_the_network_of_the_client_decides(callers: PushCallers) -> None:
    assert admitted(callers, PRIVATE)
    assert not admitted(callers, PUBLIC)


@pytest.mark.parametrize("header", ["forwarded", "x_forwarded_for", "x_forwarded_host", "via"])
@pytest.mark.parametrize("proxy", [PRIVATE, "127.0.0.1"])
def test_nobody_behind_a_proxy_that_is_not_trusted_is_admitted(callers: PushCallers, proxy: str, header: str) -> None:
    """The address is the proxy's, whoever the client is, and whatever the header says."""
    for value in (PUBLIC, PRIVATE, ""):
        assert not admitted(callers, proxy, **{header: value})


def test_behind_a_trusted_proxy_the_address_that_it_forwards_decides(callers: PushCallers) -> None:
    assert admitted(callers, "10.9.9.9", x_forwarded_for=PRIVATE, via="1.1 proxy")
    assert not admitted(callers, "10.9.9.9", x_forwarded_for=PUBLIC)
