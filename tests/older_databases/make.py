"""Create the databases of a commit, as SQL text that tests load and upgrade.

    git worktree add /tmp/older COMMIT && make -C /tmp/older .venv/.installed-dev
    /tmp/older/.venv/bin/python tests/older_databases/make.py tests/older_databases/COMMIT

Run it by an interpreter in which that commit is installed, with PostgreSQL, ``pg_dump`` and ``sqlite3`` at hand. It
writes ``sqlite.sql``, ``postgresql.sql`` and ``completed.csv``, the file of the export that is completed. The service
of that commit, its worker and its classes make every row; only the tokens are replaced by those below, so that tests
can send them. ``@FOLDER@`` stands for the folder of the service and ``@WEBHOOK@`` for the URL of a webhook.

``--empty`` makes the tables alone, of commits whose classes differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

KEY = "fxp_abcdefghijkl_" + "K" * 43
SESSION = "S" * 43
PASSWORD = "a password of that time"
PAST, FUTURE = 1_750_000_000.0, 4_000_000_000.0
WEBHOOK = "http://127.0.0.1:9/hook"
QUERY = "SELECT id, name FROM users ORDER BY id LIMIT 5"


def fill(url: str, folder: Path) -> bytes:
    """Put something into every table, and exports in every state; the file of the one that is completed."""
    from service_support import emulator, service

    with emulator(folder, 10) as source:
        nightly = {"cron": "0 3 * * *", "user": "ann", "export": {"source": {"query": QUERY}}}
        (folder / "fluxport.yaml").write_text(json.dumps({"schedules": {"nightly": nightly}}))
        with service(folder, source, FLUXPORT_DATABASE=url) as client:
            made = client.post("/v1/exports", {"source": {"query": QUERY}}, headers={"Idempotency-Key": "completed"})
            client.finished(made.json()["id"])
            assert client.post("/v1/stream", {"source": {"query": QUERY}}).status_code == 200
    (file,) = [path for path in (folder / "exports").rglob("*") if path.is_file()]
    rows_of_classes(url)
    return file.read_bytes()


def rows_of_classes(url: str) -> None:
    import sqlalchemy as sa

    from fluxport import tables
    from fluxport.auth.caller import Caller
    from fluxport.auth.keys import Keys
    from fluxport.auth.replay import SharedReplays
    from fluxport.auth.sessions import Sessions
    from fluxport.auth.signin import SignIn
    from fluxport.auth.signing import Signed
    from fluxport.auth.users import Users
    from fluxport.errors import Unauthorized
    from fluxport.jobs import queue
    from fluxport.jobs.request import ExportRequest
    from fluxport.jobs.store import Store
    from fluxport.plan import ExportSpec

    store = Store(url, clock=lambda: PAST)
    dev = Caller("default", key_id="default", scopes=frozenset({"sql:*", "push"}), request_id="r1", address="192.0.2.1")
    spec = ExportSpec(query=QUERY)

    def asked(key: str, **notify: Any) -> str:
        request = ExportRequest(spec, notify=notify)
        limits = {"active_max": 99, "queue_max": 99}
        return store.create(request, dev, door="native", idempotency=(key, "0" * 64), **limits)[0].id

    lost, later = asked("running"), asked("waits for its next attempt")
    with store.engine.begin() as connection:
        store.take(connection, "a worker that is gone", {"main": 9}, 9, 3)
        queue.beat(connection, "a worker that is gone", PAST)
    store.progress(lost, 1, "reading", 2, 100)
    store.attempt_failed(later, 1, {"code": "source_unavailable", "message": "It was away.", "retryable": True})
    store.move(later, "queued", fence=1)
    with store.engine.begin() as connection:
        queue.give_back(connection, later, "a worker that is gone", 0.0)
        connection.execute(sa.update(tables.queue).where(tables.queue.c.due_at > 0).values(due_at=PAST))
    asked("queued", webhook=WEBHOOK)
    for status in ("failed", "canceled"):
        export_id = asked(status, webhook=WEBHOOK)
        store.move(export_id, status, error={"code": status, "message": f"It ended as {status}.", "retryable": False})
    (done,) = [record for record in store.page(dev, status="completed") if record.stored]
    expired = asked("expired")
    store.claim(expired, attempts_max=3)
    store.move(expired, "completed", fence=1, rows=5, result=done.result, expires_at=PAST - 1)
    assert [record.id for record in store.expire()] == [expired]
    with store.engine.begin() as connection:
        connection.execute(sa.update(tables.exports).where(tables.exports.c.id == done.id).values(expires_at=FUTURE))
    store.use_link(hashlib.sha256(b"used").hexdigest(), done.id, FUTURE)
    pushed = replace(spec, query="", pushed=({"name": "n", "type": "bigint"},))
    store.create_push(pushed, dev, door="grpc", key=("pushed", "0" * 64), held_until=PAST)
    store.create_stream("00000000-0000-4000-8000-000000000001", spec, dev)
    store.probe()
    if url.startswith("postgres"):
        SharedReplays(store.engine).use(Signed("default", "v2", 0, "0" * 64), PAST)

    users = Users(store.engine, clock=store.clock)
    sessions = Sessions(store.engine, development=False, clock=lambda: FUTURE)
    users.add("ann", PASSWORD, ["sql:*"])
    sessions.start("ann", "password")
    keys = Keys(store.engine, clock=store.clock)
    keys.create("nightly", "ann", ["sql:main"], expires_s=None, mail_domains=["example.com"])
    revoked = keys.create("old", "ann", ["sql:main"], expires_s=60.0)[0]
    keys.revoke(revoked.name)
    with suppress(Unauthorized):
        sign_in = SignIn(store.engine, users, sessions, store.note, clock=lambda: FUTURE)
        sign_in.with_password("ann", "wrong", "192.0.2.1", instead_of=None)
    key_id = KEY.split("_")[1]
    digest = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in (("key", KEY), ("session", SESSION))}
    with store.engine.begin() as connection:
        mine = sa.update(tables.keys).where(tables.keys.c.name == "nightly")
        connection.execute(mine.values(id=key_id, secret_sha256=digest["key"]))
        connection.execute(sa.update(tables.sessions).values(token_sha256=digest["session"]))
        for table in tables.metadata.sorted_tables:
            if table.name != "used_signatures":
                assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one(), table.name
    store.close()


def empty(url: str) -> None:
    from fluxport.jobs.store import Store

    store = Store(url)
    store.create_tables()
    store.close()


def main() -> None:
    from postgres_support import scratch_postgres

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--empty", action="store_true")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ends:
        postgres = ends.enter_context(scratch_postgres())
        for kind in ("sqlite", "postgresql"):
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
            url = f"sqlite:///{folder}/fluxport.db" if kind == "sqlite" else postgres.url
            if options.empty:
                empty(url)
            else:
                (options.output / "completed.csv").write_bytes(fill(url, folder))
            dump = ["sqlite3", str(folder / "fluxport.db"), ".dump"]
            if kind == "postgresql":
                dump = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", postgres.url]
            text = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
            # Commands of psql, and a setting that older servers do not know.
            kept = [line for line in text.splitlines() if not line.startswith(("\\", "--", "SET transaction_timeout"))]
            text = "\n".join(line for line in kept if line) + "\n"
            text = text.replace(str(folder), "@FOLDER@").replace(WEBHOOK, "@WEBHOOK@")
            (options.output / f"{kind}.sql").write_text(text)


if __name__ == "__main__":
    main()
