"""The embedded store: one SQLite file in WAL mode, for any number of threads and processes on one machine.

::

    append --> hot (a row per point: fresh and late ones)
                 |  compaction
                 v
    chunks:  [first ... last]   [first ... last]   [first ... last]     some 8,192 points of one sensor, no overlaps
    hot:           . .                                        . . . .   newer than a chunk's point of the same time

In the background, rows of ``hot`` are folded into ``chunks`` (chunk.py). Waiting writers share a transaction and so its
fsync. Readers take short snapshots, one per step of the range: they block no writer and do not prevent WAL checkpoints.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fluxport.errors import NotFound, Refused, StoreFull, TooMany, Unavailable
from fluxport.loops import background, keep_going
from fluxport.private import reserve
from fluxport.series import Description, Extent, Opened, PointBatches, Sensor, chunk
from fluxport.series.downsample import downsampled
from fluxport.series.points import EMPTY, Points, check_sensor_id, checked, joined, merged, settled

log = logging.getLogger("fluxport.series")

SCHEMA = """
CREATE TABLE IF NOT EXISTS sensors (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL DEFAULT '',
    unit TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS attributes (
    sensor INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (sensor, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- value has no declared type: SQLite then stores every float bit for bit; NULL means no value
CREATE TABLE IF NOT EXISTS hot (
    sensor INTEGER NOT NULL, ms INTEGER NOT NULL, value, quality INTEGER NOT NULL, PRIMARY KEY (sensor, ms)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (
    sensor INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, points INTEGER NOT NULL,
    outline BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (sensor, first_ms)
) WITHOUT ROWID;
"""
_SENSOR = """
SELECT number, id, name, unit, (SELECT json_group_object(name, value) FROM attributes WHERE sensor = number)
FROM sensors
"""
_ADD = "INSERT OR REPLACE INTO hot VALUES (?, ?, ?, ?)"
_HOT = "SELECT ms, value, quality FROM hot WHERE sensor = ? AND ms BETWEEN ? AND ? ORDER BY ms LIMIT ?"
_HOT_DELETE = "DELETE FROM hot WHERE sensor = ? AND ms BETWEEN ? AND ?"
# Chunks that overlap a range, from the one that starts last before it.
_CHUNKS = """
SELECT first_ms, last_ms, points, {column} FROM chunks
WHERE sensor = ?1 AND last_ms >= ?2 AND first_ms <= ?3 AND first_ms >= coalesce(
    (SELECT max(first_ms) FROM chunks WHERE sensor = ?1 AND first_ms <= ?2), ?2)
ORDER BY first_ms LIMIT ?4
"""
_OUTLINES = _CHUNKS.format(column="outline")
_CHUNKS = _CHUNKS.format(column="data")
_CHUNK_DATA = "SELECT data FROM chunks WHERE sensor = ? AND first_ms = ?"
_CHUNK_COUNT = "SELECT count(*) FROM chunks WHERE sensor = ? AND last_ms >= ? AND first_ms <= ?"
_CHUNK_ADD = "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)"
_CHUNK_DELETE = "DELETE FROM chunks WHERE sensor = ? AND first_ms = ?"
_EXTENT = """
SELECT min(low), max(high) FROM (
    SELECT (SELECT min(ms) FROM hot WHERE sensor = ?1) low, (SELECT max(ms) FROM hot WHERE sensor = ?1) high
    UNION ALL
    SELECT (SELECT min(first_ms) FROM chunks WHERE sensor = ?1),
           (SELECT last_ms FROM chunks WHERE sensor = ?1 ORDER BY first_ms DESC LIMIT 1))
"""

OUTLINES_AT_ONCE = 512
CHUNKS_AT_ONCE = 4  # per step of a scan, after a first step of one
FOLDED_AT_ONCE = 4  # chunks' worth of rows per transaction of the compaction: some 40 ms
BUSY_S = 10.0


@dataclass(frozen=True)
class EmbeddedOptions:
    """``keep_s`` None: no retention limit; ``waiting_max`` bounds the points of all waiting writers together."""

    sensors_max: float = math.inf
    waiting_max: int = 2_000_000
    keep_s: float | None = None
    chunk_points: int = chunk.POINTS
    compact_every_s: float = 1.0
    sweep_every_s: float = 300.0


@dataclass(eq=False)
class _Waiting:
    """An append that waits to be written: its points by sensor, and its outcome."""

    points: Sequence[tuple[str, Points]]
    done: bool = False
    error: BaseException | None = None

    @property
    def count(self) -> int:
        return sum(len(points) for _, points in self.points)


@dataclass(eq=False)
class EmbeddedStore:
    """See :class:`fluxport.series.SensorStore`."""

    path: Path
    options: EmbeddedOptions = field(default_factory=EmbeddedOptions)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._idle: list[sqlite3.Connection] = []
        self._pool = threading.Lock()
        self._queue = threading.Lock()  # guards _waiting and _waiting_points
        self._turn = threading.Lock()  # held by the thread that writes all waiting appends
        self._waiting: list[_Waiting] = []
        self._waiting_points = 0
        self._numbers: dict[str, int] = {}
        self._fresh: Counter[int] = Counter()  # rows added to hot since the sensor's last fold
        self._stopped = threading.Event()
        self._maintenance: threading.Thread | None = None
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as connection:
                connection.executescript(SCHEMA)

    def close(self) -> None:
        self._stopped.set()
        if self._maintenance is not None:
            self._maintenance.join()
        with self._pool:
            while self._idle:
                self._idle.pop().close()

    # -- sensors ---------------------------------------------------------------------------------------------------

    def sensors(self, search: str = "", *, limit: int = 1000, after: str = "") -> list[Sensor]:
        """The sensors with ``search`` in their id or name, ordered by id, after the id ``after``."""
        query = f"{_SENSOR} WHERE id > ? AND (instr(lower(id), ?) OR instr(lower(name), ?)) ORDER BY id LIMIT ?"
        lower = search.lower()
        with self._reading() as connection:
            rows = connection.execute(query, (after, lower, lower, limit)).fetchall()
            return [self._sensor(connection, row) for row in rows]

    def sensor(self, sensor_id: str) -> Sensor:
        with self._reading() as connection:
            row = connection.execute(f"{_SENSOR} WHERE id = ?", (sensor_id,)).fetchone()
            if row is None:
                raise no_such_sensor(sensor_id)
            return self._sensor(connection, row)

    def describe(self, sensor_id: str, description: Description) -> Sensor:
        """Set what the description has; creates the sensor if it does not exist."""
        check_sensor_id(sensor_id)
        with self._writing() as connection:
            number = self._number(connection, sensor_id)
            for column, value in (("name", description.name), ("unit", description.unit)):
                if value is not None:
                    connection.execute(f"UPDATE sensors SET {column} = ? WHERE number = ?", (value, number))  # noqa: S608  one of the two names above
            if description.attributes is not None:
                connection.execute("DELETE FROM attributes WHERE sensor = ?", (number,))
                rows = [(number, *pair) for pair in description.attributes.items()]
                connection.executemany("INSERT INTO attributes VALUES (?, ?, ?)", rows)
        self._numbers[sensor_id] = number
        return self.sensor(sensor_id)

    @staticmethod
    def _sensor(connection: sqlite3.Connection, row: tuple[int, str, str, str, str]) -> Sensor:
        number, sensor_id, name, unit, attributes = row
        first, last = connection.execute(_EXTENT, (number,)).fetchone()
        extent = None if first is None else Extent(first, last)
        return Sensor(sensor_id, name, unit, json.loads(attributes), extent)

    @staticmethod
    def _existing(connection: sqlite3.Connection, sensor_id: str) -> int:
        row = connection.execute("SELECT number FROM sensors WHERE id = ?", (sensor_id,)).fetchone()
        if row is None:
            raise no_such_sensor(sensor_id)
        number: int = row[0]
        return number

    def _number(self, connection: sqlite3.Connection, sensor_id: str) -> int:
        """The number of the sensor's row, which is created if it does not exist."""
        row = connection.execute("SELECT number FROM sensors WHERE id = ?", (sensor_id,)).fetchone()
        if row is None:
            (count,) = connection.execute("SELECT count(*) FROM sensors").fetchone()
            if count >= self.options.sensors_max:
                raise Refused(
                    f"There are {count:,} sensors, the maximum of the store; raise series.sensors_max.",
                    code="too_many_sensors",
                )
            row = connection.execute("INSERT INTO sensors (id) VALUES (?) RETURNING number", (sensor_id,)).fetchone()
        number: int = row[0]
        return number

    # -- writing ---------------------------------------------------------------------------------------------------

    def append(self, points: Sequence[tuple[str, Points]]) -> None:
        """Durable on return. TooMany beyond ``waiting_max``; nothing is stored then."""
        for sensor_id, _ in points:
            check_sensor_id(sensor_id)
        waiting = _Waiting([(sensor_id, checked(p)) for sensor_id, p in points])
        with self._queue:
            if self._waiting and self._waiting_points + waiting.count > self.options.waiting_max:
                raise TooMany(
                    "More points are waiting than the store can write now; send them again in a moment.",
                    code="ingest_busy",
                    retry_after_s=1,
                )
            self._waiting.append(waiting)
            self._waiting_points += waiting.count
        with self._turn:
            if not waiting.done:
                self._write_waiting()
        if waiting.error is not None:
            raise waiting.error

    def mark(self, name: str, value: int) -> int | None:
        with self._writing() as connection:
            before = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
            connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))
        return None if before is None else int(before[0])

    def _write_waiting(self) -> None:
        with self._queue:
            batch, self._waiting, self._waiting_points = self._waiting, [], 0
        error = self._written(batch)
        if error is not None and len(batch) > 1:
            # One bad append must not fail the others.
            for one in batch:
                one.error, one.done = self._written([one]), True
            return
        for one in batch:
            one.error, one.done = error, True

    def _written(self, batch: list[_Waiting]) -> BaseException | None:
        """Write all in one transaction; returns its error or None."""
        numbers: dict[str, int] = {}
        fresh: Counter[int] = Counter()
        try:
            with self._writing() as connection:
                for sensor_id, points in (pair for one in batch for pair in one.points):
                    number = self._numbers.get(sensor_id) or numbers.get(sensor_id)
                    if number is None:
                        number = numbers[sensor_id] = self._number(connection, sensor_id)
                    if len(points) >= self.options.chunk_points and self._touches_few(connection, number, points):
                        self._fold(connection, number, int(points.ms[0]), int(points.ms[-1]), points)
                    elif len(points):
                        connection.executemany(_ADD, rows_of(number, points))
                        fresh[number] += len(points)
        except BaseException as error:  # noqa: BLE001  raised again in the waiting thread
            return error
        self._numbers |= numbers
        self._fresh += fresh
        return None

    def _touches_few(self, connection: sqlite3.Connection, number: int, points: Points) -> bool:
        """Whether points can be folded right away: their range holds no more existing points than new ones."""
        first_ms, last_ms = int(points.ms[0]), int(points.ms[-1])
        bounds = (number, first_ms, last_ms)
        (chunks,) = connection.execute(_CHUNK_COUNT, bounds).fetchone()
        hot = "SELECT count(*) FROM (SELECT 1 FROM hot WHERE sensor = ? AND ms BETWEEN ? AND ? LIMIT ?)"
        (rows,) = connection.execute(hot, (*bounds, len(points) + 1)).fetchone()
        few: bool = chunks * self.options.chunk_points + rows <= max(
            len(points), CHUNKS_AT_ONCE * self.options.chunk_points
        )
        return few

    # -- reading ---------------------------------------------------------------------------------------------------

    def scan(
        self,
        sensor_id: str,
        start_ms: int,
        end_ms: int,
        opened: Opened = lambda end: None,
        *,
        beside: bool = False,
    ) -> PointBatches:
        with self._reading() as connection:
            number = self._existing(connection, sensor_id)
        at_once = 1
        position: int | None = start_ms
        while position is not None and position <= end_ms:
            with self._reading() as connection:
                points, position = self._step(connection, number, position, end_ms, at_once)
            if len(points):
                yield points
            at_once = 1 if beside else CHUNKS_AT_ONCE

    def _step(
        self, connection: sqlite3.Connection, number: int, start_ms: int, end_ms: int, at_once: int
    ) -> tuple[Points, int | None]:
        """The next points of a range, and the start of the next step; None at the end."""
        chunk_rows = connection.execute(_CHUNKS, (number, start_ms, end_ms, at_once)).fetchall()
        until = min(chunk_rows[-1][1], end_ms) if len(chunk_rows) == at_once else end_ms
        rows_max = at_once * self.options.chunk_points
        hot = points_of(connection.execute(_HOT, (number, start_ms, until, rows_max)).fetchall())
        if len(hot) == rows_max:
            until = int(hot.ms[-1])
        chunks = joined([chunk.unpack(row[3], row[2]) for row in chunk_rows if row[0] <= until])
        points = merged(chunks.between(start_ms, until), hot)
        return points, until + 1 if until < end_ms else None

    def outline(self, sensor_id: str, start_ms: int, end_ms: int, most: int) -> tuple[Points, int]:
        """Uses the outlines of chunks where they are fine enough: a chunk is unpacked only at the ends of the range and
        where newer points overlap it."""
        with self._reading() as connection:
            number = self._existing(connection, sensor_id)
            (chunks,) = connection.execute(_CHUNK_COUNT, (number, start_ms, end_ms)).fetchone()
        if chunks * chunk.OUTLINE_POINTS < most:
            return downsampled(self.scan(sensor_id, start_ms, end_ms), most)
        counts: list[int] = []

        def outlines() -> PointBatches:
            position: int | None = start_ms
            while position is not None and position <= end_ms:
                with self._reading() as connection:
                    points, count, position = self._outline_step(connection, number, position, end_ms)
                counts.append(count)
                yield points

        few, _ = downsampled(outlines(), most)
        return few, sum(counts)

    def _outline_step(
        self, connection: sqlite3.Connection, number: int, start_ms: int, end_ms: int
    ) -> tuple[Points, int, int | None]:
        """Like :meth:`_step`, with outlines in place of chunks where possible, and the number of points in the step."""
        rows = connection.execute(_OUTLINES, (number, start_ms, end_ms, OUTLINES_AT_ONCE)).fetchall()
        until = min(rows[-1][1], end_ms) if len(rows) == OUTLINES_AT_ONCE else end_ms
        rows_max = CHUNKS_AT_ONCE * self.options.chunk_points
        hot = points_of(connection.execute(_HOT, (number, start_ms, until, rows_max)).fetchall())
        if len(hot) == rows_max:
            until = int(hot.ms[-1])
        outlined, unpacked, count = [], [], 0
        for first, last, points, outline in rows:
            if first > until:
                break
            if start_ms <= first and last <= until and not len(hot.between(first, last)):
                outlined.append(chunk.unpack_outline(outline))
                count += points
            else:
                (data,) = connection.execute(_CHUNK_DATA, (number, first)).fetchone()
                unpacked.append(chunk.unpack(data, points))
        exact = merged(joined(unpacked).between(start_ms, until), hot)
        return settled(joined([exact, *outlined])), count + len(exact), until + 1 if until < end_ms else None

    # -- maintenance ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start compaction and retention in a background thread, which ends with :meth:`close`."""
        next_sweep = 0.0

        def maintain() -> None:
            nonlocal next_sweep
            if time.monotonic() >= next_sweep:
                next_sweep = time.monotonic() + self.options.sweep_every_s
                self.expire()
                self._recount()
            self.compact()

        every_s = self.options.compact_every_s
        self._maintenance = background("fluxport-series", keep_going, "compaction", self._stopped, every_s, maintain)

    def _recount(self) -> None:
        """Count the rows of hot, including those of other processes and of earlier runs."""
        with self._turn, self._reading() as connection:
            self._fresh = Counter(dict(connection.execute("SELECT sensor, count(*) FROM hot GROUP BY sensor")))

    def compact(self) -> None:
        """Fold the rows of every sensor that has enough of them for a chunk."""
        for number in [number for number, fresh in list(self._fresh.items()) if fresh >= self.options.chunk_points]:
            while self._fresh[number] >= self.options.chunk_points and not self._stopped.is_set():
                with self._turn:
                    self._compact_some(number)

    def _compact_some(self, number: int) -> None:
        with self._writing() as connection:
            rows = connection.execute(
                "SELECT ms FROM hot WHERE sensor = ? ORDER BY ms LIMIT ?",
                (number, FOLDED_AT_ONCE * self.options.chunk_points),
            ).fetchall()
            whole = len(rows) // self.options.chunk_points * self.options.chunk_points
            if not whole:  # some of the added points replaced others
                self._fresh[number] = len(rows)
                return
            folded = self._fold_first(connection, number, [ms for (ms,) in rows[:whole]])
        self._fresh[number] -= folded

    def _fold_first(self, connection: sqlite3.Connection, number: int, times: list[int]) -> int:
        """Fold the first rows of a sensor that overlap at most CHUNKS_AT_ONCE chunks; returns their number."""
        touched = connection.execute(
            "SELECT last_ms FROM chunks WHERE sensor = ? AND last_ms >= ? AND first_ms <= ? ORDER BY first_ms LIMIT ?",
            (number, times[0], times[-1], CHUNKS_AT_ONCE),
        ).fetchall()
        last = times[-1] if len(touched) < CHUNKS_AT_ONCE else max(touched[-1][0], times[0])
        count = int(np.searchsorted(times, last, "right"))
        self._fold(connection, number, times[0], times[count - 1], EMPTY)
        return count

    def _fold(self, connection: sqlite3.Connection, number: int, first_ms: int, last_ms: int, points: Points) -> None:
        """Rewrite a sensor's range as chunks: its chunks, overridden by its rows, overridden by ``points``."""
        old = connection.execute(_CHUNKS, (number, first_ms, last_ms, -1)).fetchall()
        hot = points_of(connection.execute(_HOT, (number, first_ms, last_ms, -1)).fetchall())
        points = merged(merged(joined([chunk.unpack(row[3], row[2]) for row in old]), hot), points)
        connection.executemany(_CHUNK_DELETE, [(number, row[0]) for row in old])
        connection.execute(_HOT_DELETE, (number, first_ms, last_ms))
        count = max(1, round(len(points) / self.options.chunk_points))
        bounds = np.linspace(0, len(points), count + 1).astype(np.intp)
        for start, stop in itertools.pairwise(bounds.tolist()):
            part = points[start:stop]
            outline = chunk.pack_outline(part)
            row = (number, int(part.ms[0]), int(part.ms[-1]), len(part), outline, chunk.pack(part))
            connection.execute(_CHUNK_ADD, row)

    def expire(self) -> None:
        """Delete points older than the retention time, a chunk once all its points are."""
        if self.options.keep_s is None:
            return
        before = int((self.clock() - self.options.keep_s) * 1000)
        with self._reading() as connection:
            numbers = [number for (number,) in connection.execute("SELECT number FROM sensors")]
        for number in numbers:
            with self._turn, self._writing() as connection:
                connection.execute("DELETE FROM hot WHERE sensor = ? AND ms < ?", (number, before))
                connection.execute(
                    "DELETE FROM chunks WHERE sensor = ? AND first_ms < ? AND last_ms < ?", (number, before, before)
                )

    # -- connections -----------------------------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._pool:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._opened()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._pool:
            if not self._stopped.is_set():
                self._idle.append(connection)
                return
        connection.close()

    def _opened(self) -> sqlite3.Connection:
        reserve(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # acknowledged points survive a power loss, too
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -4096")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._translated(), self._connection() as connection:
            connection.execute(begin)
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            log.warning("the sensor store failed: %s", error)
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StoreFull("The disk of the sensor store is full; free some space.", code="series_full") from error
            raise Unavailable(
                "The sensor store cannot be read or written now; the log has the reason.", code="series_away"
            ) from error


def rows_of(number: int, points: Points) -> Iterator[tuple[int, int, float | None, int]]:
    # SQLite's driver stores NaN as NULL, the form of a missing value here.
    return zip([number] * len(points), points.ms.tolist(), points.values.tolist(), points.quality.tolist(), strict=True)


def points_of(rows: list[tuple[int, float | None, int]]) -> Points:
    if not rows:
        return EMPTY
    ms, values, quality = zip(*rows, strict=True)
    return Points(np.array(ms, np.int64), np.array(values, np.float64), np.array(quality, np.uint8))


def no_such_sensor(sensor_id: str) -> NotFound:
    return NotFound(f"There is no sensor {sensor_id!r}; GET /v1/sensors lists them.", code="no_such_sensor")
