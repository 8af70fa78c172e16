"""Used signatures in PostgreSQL: each is accepted once over all machines, and is removed in time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fluxport.auth.replay import SharedReplays
from fluxport.auth.signing import Signed
from fluxport.errors import Unauthorized, Unavailable
from fluxport.jobs.store import JobStore
from fluxport.tables import connect
from postgres_support import PostgresDatabase, scratch_postgres

WINDOW_S, KEPT_S = 300, 600  # how old or early a signature may be; how long it is remembered

NOW = 1_767_225_600.0


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as made:
        store = JobStore(made.url)
        store.create_tables()
        store.close()
        yield made


@pytest.fixture
def machines(database: PostgresDatabase) -> Iterator[list[SharedReplays]]:
    """Four machines' views of one database."""
    database.run("DELETE FROM used_signatures")
    engines = [connect(database.url, pool_size=2) for _ in range(4)]
    yield [SharedReplays(engine) for engine in engines]
    for engine in engines:
        engine.dispose()


def passes(replays: SharedReplays, number: int, now: float = NOW) -> bool:
    try:
        replays.use(Signed("default", "v1", int(NOW), f"{number:064x}"), now)
    except Unauthorized as error:
        assert error.code == "replayed"  # noqa: PT017 - the other outcome is a success
        return False
    return True


def test_a_signature_passes_once_over_all_machines(machines: list[SharedReplays]) -> None:
    assert passes(machines[0], 1)
    assert not any(passes(machine, 1) for machine in machines)
    assert passes(machines[1], 2)


def test_of_many_concurrent_uses_of_a_signature_one_succeeds(machines: list[SharedReplays]) -> None:
    with ThreadPoolExecutor(4) as threads:
        won = list(threads.map(lambda machine: sum(passes(machine, n) for n in range(50)), machines))
    assert sum(won) == 50


def test_a_signature_is_remembered_while_any_clock_within_a_window_lets_it_in(machines: list[SharedReplays]) -> None:
    assert passes(machines[0], 1)
    assert not passes(machines[1], 1, NOW + KEPT_S)
    assert not passes(machines[2], 1, NOW + KEPT_S + WINDOW_S - 1)


def test_expired_signatures_are_removed(machines: list[SharedReplays], database: PostgresDatabase) -> None:
    assert passes(machines[0], 1)
    assert passes(machines[1], 2, NOW + KEPT_S + WINDOW_S)
    assert database.run("SELECT count(*) FROM used_signatures") == [(1,)]


def test_without_the_database_no_request_is_admitted() -> None:
    engine = connect("postgresql://postgres@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable):
        passes(SharedReplays(engine), 1)
    engine.dispose()
