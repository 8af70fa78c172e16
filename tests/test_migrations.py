"""The service's own tables change by steps: databases of older programs are upgraded, also during crashes and
concurrent starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fluxport import migrations
from fluxport.auth.caller import Caller
from fluxport.auth.tokens import token_digest
from fluxport.errors import Broken, Gone, Refused
from fluxport.jobs.redemption import Redemption
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore
from fluxport.migrations import NONE, STEPS, missing, recorded, recorded_at, upgrade
from fluxport.spec import ExportSpec
from fluxport.tables import connect, metadata, reading
from identity_support import DATABASES, database_url
from older_support import BEFORE_VERSIONS, OLDEST, older_database
from steps_support import VERSION, more

HERE = Path(__file__).parent
SCOPES = {
    '{"connection": "main", "dataset": null, "series": null, "pushed": null}': "sql:main",
    '{"connection": "main", "dataset": "trades", "series": null, "pushed": null}': "dataset:trades",
    '{"connection": "main", "dataset": null, "series": {"sensors": ["s"]}, "pushed": null}': "series",
    '{"connection": "main", "dataset": null, "series": null, "pushed": [{"name": "n"}]}': "push",
}

OPEN = """
import sys
from fluxport.wiring import database
from fluxport.config import load
database(load(None)).close()
print(*sys.modules)
"""

each_database = pytest.mark.parametrize("kind", DATABASES)


@contextmanager
def empty(kind: str, folder: Path) -> Iterator[sa.Engine]:
    with database_url(kind, folder) as url, engine_of(url) as engine:
        yield engine


@contextmanager
def engine_of(url: str) -> Iterator[sa.Engine]:
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def older(kind: str, commit: str, folder: Path) -> Iterator[sa.Engine]:
    with older_database(kind, commit, folder) as url, engine_of(url) as engine:
        yield engine


def schema(engine: sa.Engine) -> dict[str, Any]:
    """The tables of the database, but for the one of the steps, in whatever order their columns are."""
    inspected = sa.inspect(engine)
    return {
        name: {
            "columns": {
                c["name"]: (repr(c["type"]), c["nullable"], str(c["default"])) for c in inspected.get_columns(name)
            },
            "key": inspected.get_pk_constraint(name)["constrained_columns"],
            "unique": [c["column_names"] for c in inspected.get_unique_constraints(name)],
            "indexes": sorted(map(index, inspected.get_indexes(name))),
        }
        for name in inspected.get_table_names()
        if name != "schema_steps"
    }


def index(found: Any) -> tuple[str, list[str], bool, str]:
    options = found.get("dialect_options", {})
    where = options.get("sqlite_where", options.get("postgresql_where", ""))
    return found["name"], found["column_names"], bool(found["unique"]), str(where).strip("()").lower()


def declared(kind: str, folder: Path) -> dict[str, Any]:
    """The tables as :mod:`fluxport.tables` declares them."""
    folder = folder / "declared"
    folder.mkdir()
    with empty(kind, folder) as engine:
        metadata.create_all(engine)
        return schema(engine)


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    with reading(engine) as connection:
        for name in sa.inspect(connection).get_table_names():
            if name != "schema_steps":
                rows = connection.execute(sa.text(f'SELECT * FROM "{name}"')).mappings()
                found[name] = sorted((dict(row) for row in rows), key=str)
    return found


@each_database
def test_the_steps_make_the_tables_that_the_program_declares(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as engine:
        assert [number for number, _ in upgrade(engine)] == list(range(1, len(STEPS) + 1))
        assert schema(engine) == declared(kind, tmp_path)
        assert upgrade(engine) == []


@each_database
def test_a_database_without_a_version_retains_every_row(kind: str, tmp_path: Path) -> None:
    with older(kind, BEFORE_VERSIONS, tmp_path) as engine:
        before = contents(engine)
        assert {name for name, rows in before.items() if not rows} <= {"used_signatures"}
        upgrade(engine)
        assert schema(engine) == declared(kind, tmp_path)
        before["used_links"] = [row | {"session_sha256": None, "open_until": None} for row in before["used_links"]]
        assert contents(engine) == before
        assert recorded(engine).version == len(STEPS)


@each_database
def test_the_oldest_database_is_completed(kind: str, tmp_path: Path) -> None:
    with older(kind, OLDEST, tmp_path) as engine:
        columns = [c["name"] for c in sa.inspect(engine).get_columns("exports") if not c["nullable"]]
        row = dict.fromkeys(columns, 0) | {"stored": True, "status": "queued", "owner": "ann", "created_at": 5.0}
        row |= dict.fromkeys(("door", "attempt_errors", "notify", "request_id", "trace_id", "address"), "{}")
        into = ", ".join(f'"{name}"' for name in columns)
        insert = sa.text(f"INSERT INTO exports ({into}) VALUES ({', '.join(f':{name}' for name in columns)})")
        with engine.begin() as connection:
            typed = [sa.bindparam(name, type_=sa.Boolean) for name in ("stored", "counted")]
            for spec, scope in SCOPES.items():
                connection.execute(insert.bindparams(*typed), row | {"id": scope, "spec": spec})
            connection.execute(sa.text("INSERT INTO pushes VALUES ('push', 5.0)"))
        upgrade(engine)
        after = contents(engine)
        assert {found["id"]: found["scope"] for found in after["exports"]} == {name: name for name in SCOPES.values()}
        assert {found["export_id"] for found in after["queue"]} == set(SCOPES.values()) - {"push"}
        assert {found["connection"] for found in after["queue"]} == {"main"}
        found, wanted = schema(engine), declared(kind, tmp_path)
        if kind == "sqlite":  # which cannot take a default away
            for table, name in (("exports", "scope"), ("keys", "own_results")):
                found[table]["columns"][name] = (*found[table]["columns"][name][:2], "None")
        assert found == wanted


@each_database
def test_an_older_program_refuses_newer_tables_and_changes_nothing(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as engine:
        upgrade(engine, more(compatible_from=VERSION))
        with engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE schema_steps SET program = '9.8.7' WHERE number = :last"), {"last": VERSION}
            )
        before = schema(engine)
        with pytest.raises(
            Refused, match=rf"version {VERSION}, written by fluxport 9\.8\.7; this is .* Run fluxport 9\.8\.7"
        ) as error:
            upgrade(engine)
        assert error.value.code == "other_version"
        assert schema(engine) == before


@each_database
def test_an_older_program_goes_on_beside_a_newer_one_if_the_step_lets_it(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as engine:
        upgrade(engine, more(compatible_from=len(STEPS)))
        assert upgrade(engine) == []
        assert recorded(engine).version == VERSION


@each_database
def test_a_program_without_sessions_of_links_uses_the_table_beside_one_that_has_them(kind: str, tmp_path: Path) -> None:
    """It knows four columns: it marks a link as used by inserting a row, and a link with a row is used."""
    with database_url(kind, tmp_path) as url, closing(JobStore(url, clock=time.time)) as store:
        store.create_tables()
        request = ExportRequest(ExportSpec("SELECT 1"))
        record, _ = store.create(request, Caller("ann"), api="native", active_max=1, queue_max=1)
        with store.engine.begin() as connection:
            insert = (
                "INSERT INTO used_links (token_sha256, export_id, used_at, expires_at) VALUES (:token, 'x', 1, 9e9)"
            )
            connection.execute(sa.text(insert), {"token": token_digest("theirs")})
        with pytest.raises(Gone):
            store.check_open(token_digest("theirs"), "a session")
        store.begin_download(record, "", Redemption(token_digest("ours"), "a session", first=True))
        with store.engine.begin() as connection:
            select = sa.text("SELECT token_sha256 FROM used_links WHERE token_sha256 = :token")
            assert connection.execute(select, {"token": token_digest("ours")}).one()


@each_database
def test_links_that_were_used_before_there_were_sessions_stay_used(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as engine:
        upgrade(engine, STEPS[:1])
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO used_links VALUES (:token, 'x', 1, 9e9)"), {"token": "a" * 64})
        assert [number for number, _ in upgrade(engine)] == list(range(2, len(STEPS) + 1))
        assert schema(engine) == declared(kind, tmp_path)
        url = engine.url.render_as_string(hide_password=False)
        with closing(JobStore(url, clock=time.time)) as store, pytest.raises(Gone):
            store.check_open("a" * 64, "a session")


def test_no_step_is_compatible_with_less_than_the_one_before() -> None:
    oldest = [step.compatible_from for step in STEPS]
    assert oldest == sorted(oldest)
    assert all(0 < step.compatible_from <= number for number, step in enumerate(STEPS, start=1))


@each_database
def test_a_table_of_another_program_is_left_alone(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as engine:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE users (name TEXT, mail TEXT)"))
        with pytest.raises(Refused, match="a table 'users' of another program: it has no column created_at, password"):
            upgrade(engine)
        assert sa.inspect(engine).get_table_names() == ["users"]


@each_database
def test_a_step_that_fails_leaves_the_database_as_it_was(kind: str, tmp_path: Path) -> None:
    with older(kind, BEFORE_VERSIONS, tmp_path) as engine:
        before = schema(engine), contents(engine)
        with pytest.raises(Broken, match=rf"Step {VERSION} .* failed; the database is unchanged") as error:
            upgrade(engine, more("failing_step"))
        assert error.value.code == "upgrade_failed"
        assert "no_such_table" in (error.value.detail or "")
        assert (schema(engine), contents(engine)) == before
        assert recorded(engine) == NONE
        assert len(upgrade(engine)) == len(STEPS)


def upgrading(url: str, folder: Path) -> subprocess.Popen[str]:
    """A process that applies one further step, and waits in its middle."""
    environ = os.environ | {"STEPS_FOLDER": str(folder)}
    command = [sys.executable, str(HERE / "steps_support.py"), url]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)


def begun(process: subprocess.Popen[str], folder: Path) -> None:
    while not (folder / "began").exists():
        assert process.poll() is None
        time.sleep(0.01)


@each_database
def test_a_process_killed_in_the_middle_leaves_the_tables_as_they_were(kind: str, tmp_path: Path) -> None:
    with older(kind, BEFORE_VERSIONS, tmp_path) as engine:
        before = schema(engine), contents(engine)
        process = upgrading(engine.url.render_as_string(hide_password=False), tmp_path)
        with process:
            begun(process, tmp_path)
            process.send_signal(signal.SIGKILL)
        assert (schema(engine), contents(engine)) == before
        assert recorded(engine) == NONE
        assert [number for number, _ in upgrade(engine, more())] == [*range(1, VERSION + 1)]
        assert {row["more"] for row in contents(engine)["exports"]} == {1}


@each_database
def test_of_two_that_start_at_once_one_upgrades_and_the_other_waits(kind: str, tmp_path: Path) -> None:
    with older(kind, BEFORE_VERSIONS, tmp_path) as engine:
        url = engine.url.render_as_string(hide_password=False)
        with upgrading(url, tmp_path) as first:
            begun(first, tmp_path)
            with upgrading(url, tmp_path) as second:
                assert second.stdout is not None
                assert second.stdout.readline() == "upgrading\n"
                with pytest.raises(subprocess.TimeoutExpired):
                    second.wait(1.0)
                (tmp_path / "go").touch()
                said = [process.communicate(timeout=60)[0].strip() for process in (first, second)]
        assert said == [f"upgrading\n{[*range(1, VERSION + 1)]}", "[]"]
        assert recorded(engine).version == VERSION


@each_database
def test_many_concurrent_starts_on_an_empty_database_succeed(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        command = [sys.executable, "-m", "fluxport", "keys", "list"]
        environ = os.environ | {"FLUXPORT_DATABASE": url}
        processes = [subprocess.Popen(command, cwd=tmp_path, env=environ) for _ in range(6)]
        assert [process.wait(120) for process in processes] == [0] * 6
        assert recorded_at(url).version == len(STEPS)


@each_database
def test_a_start_with_current_tables_runs_one_query(kind: str, tmp_path: Path) -> None:
    executed: list[str] = []
    with database_url(kind, tmp_path) as url:
        with closing(JobStore(url, clock=time.time)) as store:
            store.create_tables()
        with closing(JobStore(url, clock=time.time)) as store:
            with store.engine.connect():
                pass  # what SQLAlchemy asks of each new server
            sa.event.listen(store.engine, "before_cursor_execute", lambda *given: executed.append(given[2]))
            store.create_tables()
        environ = os.environ | {"FLUXPORT_DATABASE": url}
        done = subprocess.run([sys.executable, "-c", OPEN], env=environ, capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert [statement for statement in executed if not statement.startswith(("BEGIN", "PRAGMA"))] == [
        str(migrations._LAST)
    ]
    assert "fluxport.migrations" in modules
    assert STEPS[0].module not in modules


def test_a_missing_database_file_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "fluxport.db"
    assert len(missing(recorded_at(f"sqlite:///{path}"))) == len(STEPS)
    assert not path.exists()
