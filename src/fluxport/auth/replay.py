"""Replay protection: each signature is accepted once.

Anyone who has seen a valid signature could resend it until its timestamp leaves the window. It may be dated at most one
window ahead of our clock, so storing it for two windows is enough. The store is an SQLite file, shared by the processes
of one machine and persistent; without a path it is in memory. If several machines accept signatures, it is a table of
the database that they share.

              now             now + WINDOW_S      now + 2 WINDOW_S
    ----------|-------------------|-------------------|
              signature accepted  latest timestamp    until then it would be valid: stored until then
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from fluxport.auth.signing import WINDOW_S, Signed
from fluxport.errors import Unauthorized, Unavailable
from fluxport.private import reserve
from fluxport.tables import transaction, write_ahead

RETENTION_S = 2 * WINDOW_S
_SHARED_RETENTION_S = RETENTION_S + WINDOW_S  # machines' clocks may differ by up to WINDOW_S
_BUSY_S = 5.0  # how long a writer waits for another process

_CREATE = """
CREATE TABLE IF NOT EXISTS used_signatures (signature BLOB PRIMARY KEY, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_signatures_by_expiry ON used_signatures (expires_at);
"""
# One statement claims a signature: it changes no row if the signature was used and has not expired.
_CLAIM = """
INSERT INTO used_signatures (signature, expires_at) VALUES (?1, ?2)
ON CONFLICT (signature) DO UPDATE SET expires_at = ?2 WHERE expires_at <= ?3
"""
_NO_SIGNATURE = b""
_PRUNE = "DELETE FROM used_signatures WHERE expires_at <= ?"
# As with the file, no claim waits for the disk, so a crash of the database can lose claims.
_SHARED_CLAIM = sa.text("""
WITH unsynced AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO used_signatures (signature, expires_at) SELECT :signature, :expires_at FROM unsynced
ON CONFLICT (signature) DO UPDATE SET expires_at = :expires_at WHERE used_signatures.expires_at <= :now
""")
_SHARED_PRUNE = sa.text("DELETE FROM used_signatures WHERE expires_at <= :now")


class Replays:
    """Recently used signatures in an SQLite file; thread-safe. Raises Unavailable if the file cannot be used."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._prune_at = 0.0
        if path is not None:
            reserve(path)
        try:
            self._db = sqlite3.connect(
                path or ":memory:", timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            write_ahead(self._db, _BUSY_S)
            self._db.executescript(_CREATE)
        except sqlite3.Error as error:
            raise _unusable() from error

    def use(self, signed: Signed, now: float) -> None:
        """Record that ``signed`` was used at ``now`` (Unix time); Unauthorized ``replayed`` if it was used before."""
        claim = (bytes.fromhex(signed.signature), now + RETENTION_S, now)
        try:
            with self._lock:
                fresh = self._db.execute(_CLAIM, claim).rowcount == 1
                if now >= self._prune_at:
                    self._db.execute(_PRUNE, (now,))
                    self._prune_at = now + WINDOW_S
        except sqlite3.Error as error:
            raise _unusable() from error
        if not fresh:
            raise _replayed()

    def probe(self) -> None:
        """Write one small row; Unavailable if that fails."""
        try:
            with self._lock:
                self._db.execute(_CLAIM, (_NO_SIGNATURE, time.time(), float("inf")))
        except sqlite3.Error as error:
            raise _unusable() from error

    def __len__(self) -> int:
        """The number of stored signatures."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM used_signatures").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()


class SharedReplays:
    """The same in the service's own database, for several machines; raises Unavailable while that is unavailable."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # each statement is one transaction
        self._prune_at = 0.0

    def probe(self) -> None:
        """Does nothing: the database has its own check."""

    def use(self, signed: Signed, now: float) -> None:
        """Record that ``signed`` was used at ``now`` (Unix time); Unauthorized ``replayed`` if it was used before."""
        claim = {"signature": bytes.fromhex(signed.signature), "expires_at": now + _SHARED_RETENTION_S, "now": now}
        with transaction(self._engine) as connection:
            fresh = connection.execute(_SHARED_CLAIM, claim).rowcount == 1
            if now >= self._prune_at:
                connection.execute(_SHARED_PRUNE, {"now": now})
                self._prune_at = now + WINDOW_S
        if not fresh:
            raise _replayed()


def _replayed() -> Unauthorized:
    return Unauthorized("This signature was used before: sign every request anew.", code="replayed")


def _unusable() -> Unavailable:
    return Unavailable(
        "The file of used signatures cannot be read or written, so no signed request is accepted: check its directory, "
        "permissions and free space.",
        code="replay_store_unavailable",
    )
