"""The service's own database: which errors are temporary, which need a repair, and their messages."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from fluxport.database_errors import AWAY, UNUSABLE, translated
from fluxport.errors import Broken, FluxportError, Refused, Unavailable
from fluxport.tables import PING_AFTER_S, connect, transaction
from postgres_support import POSTGRES_URL, PostgresDatabase, scratch_postgres

PASSING = ["25006", "08006", "53100", "53300", "55006", "55P03", "57014", "57P01", "58030", "40001", "40P01", "72000"]
STAYING = ["3D000", "28000", "28P01", "42501", "3F000"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as made:
        yield made


def raised(url: str, statement: str) -> BaseException:
    engine = connect(url)
    with pytest.raises((FluxportError, sa.exc.SQLAlchemyError)) as found:
        with transaction(engine) as connection:
            connection.execute(sa.text(statement))
    engine.dispose()
    return found.value


def raise_state(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"


@pytest.mark.parametrize("state", PASSING)
def test_every_sqlstate_that_can_pass_is_a_database_that_is_away(postgres: PostgresDatabase, state: str) -> None:
    error = raised(postgres.url, raise_state(state))
    assert isinstance(error, Unavailable)
    assert error.code == AWAY


@pytest.mark.parametrize("state", STAYING)
def test_a_database_that_needs_repair_is_not_reported_as_away(postgres: PostgresDatabase, state: str) -> None:
    error = raised(postgres.url, raise_state(state))
    assert isinstance(error, Broken)
    assert error.code == UNUSABLE
    assert "'database'" in error.message


def test_an_error_of_ours_goes_up_as_it_is(postgres: PostgresDatabase) -> None:
    assert isinstance(raised(postgres.url, "SELECT * FROM no_such_table"), sa.exc.ProgrammingError)


@pytest.mark.parametrize(("state", "retained"), [("25006", False), ("57P01", False), ("40001", True), ("55P03", True)])
def test_a_connection_to_a_server_that_is_no_longer_the_right_one_is_closed(
    postgres: PostgresDatabase, state: str, retained: bool
) -> None:
    engine = connect(postgres.url, pool_size=1)

    def session() -> int:
        with transaction(engine) as connection:
            return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

    before = session()
    with pytest.raises(Unavailable), transaction(engine) as connection:
        connection.execute(sa.text(raise_state(state)))
    after = session()
    engine.dispose()
    assert (after == before) is retained


def test_an_idle_session_that_the_server_has_ended_is_replaced_before_it_is_used(postgres: PostgresDatabase) -> None:
    engine = connect(postgres.url)
    mine = sa.text("SELECT pg_backend_pid()")
    with transaction(engine) as connection:
        ended = connection.execute(mine).scalar_one()
    with transaction(engine) as connection:
        assert connection.execute(mine).scalar_one() == ended
    other = connect(postgres.url)
    with transaction(other) as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": ended})
    other.dispose()
    time.sleep(PING_AFTER_S)  # so long a session is idle before it is asked
    with transaction(engine) as connection:
        assert connection.execute(mine).scalar_one() != ended
    engine.dispose()


def failing(pragma: str, folder: Path) -> FluxportError:
    engine = connect(f"sqlite:///{folder}/own.db")
    with transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE filled (content BLOB)")
    with pytest.raises(FluxportError) as found, translated(engine), engine.connect() as connection:
        connection.commit()
        connection.connection.driver_connection.execute(pragma)  # type: ignore[union-attr]  # it is connected
        connection.exec_driver_sql("INSERT INTO filled VALUES (zeroblob(1000000))")
    engine.dispose()
    return found.value


@pytest.mark.parametrize("pragma", ["PRAGMA max_page_count = 3", "PRAGMA query_only = ON"])
def test_a_full_disk_and_a_file_that_takes_no_writes_are_away(tmp_path: Path, pragma: str) -> None:
    error = failing(pragma, tmp_path)
    assert isinstance(error, Unavailable)
    assert error.code == AWAY


def test_a_file_that_another_holds_too_long_is_away(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/own.db")
    with transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE filled (content BLOB)")
    sa.event.listen(engine, "connect", lambda made, _: made.execute("PRAGMA busy_timeout = 100"))
    engine.dispose()
    other = sqlite3.connect(tmp_path / "own.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as found, translated(engine), engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    other.close()
    engine.dispose()
    assert found.value.code == AWAY


def test_a_missing_folder_and_a_file_that_is_not_a_database_are_reported(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("This is no database at all, whatever its name may say.")
    folder = raised(f"sqlite:///{tmp_path}/nowhere/own.db", "SELECT 1")
    garbage = raised(f"sqlite:///{tmp_path}/note.txt", "SELECT 1")
    assert isinstance(folder, Broken)
    assert "folder" in folder.message
    assert isinstance(garbage, Broken)
    assert "not an SQLite database" in garbage.message


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"path": "/no_such_database"}, Broken, "does not exist; create it"),
        ({"netloc": f"no_such_role@{urlsplit(POSTGRES_URL).netloc.rpartition('@')[2]}"}, Broken, "refused the login"),
        ({"netloc": "postgres@127.0.0.1:1"}, Unavailable, "cannot be reached; start it"),
        ({"netloc": "postgres@no-such-host.invalid"}, Unavailable, "cannot be reached; start it"),
    ],
)
def test_a_server_that_refuses_connections_is_reported_with_its_reason(
    postgres: PostgresDatabase, change: dict[str, str], error: type[FluxportError], words: str
) -> None:
    found = raised(urlsplit(postgres.url)._replace(**change).geturl(), "SELECT 1")
    assert isinstance(found, error)
    assert words in found.message


@pytest.mark.parametrize("url", ["nonsense", "mysql://root@127.0.0.1/test", "postgresql://postgres@127.0.0.1:x/y"])
def test_an_invalid_url_of_the_job_store_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="The setting 'database'"):
        connect(url)
