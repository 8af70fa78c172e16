"""One client's session: its database, variables and transaction state, and the execution of statements.

Everything here runs in a worker thread and may block; ``stop`` is the one method that other threads call.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import duckdb

from fluxport_emulator import dialect, faults, show
from fluxport_emulator.dialect import Scope, Translated
from fluxport_emulator.engine import Engine, Result, rows_of, run
from fluxport_emulator.faults import SqlError
from fluxport_emulator.statement import Query, parse, without_comments
from fluxport_emulator.tables import literal
from fluxport_emulator.values import Value
from fluxport_emulator.variables import CHARSETS, VERSION, Setting, Variables
from fluxport_emulator.wire import ColumnDefinition, Status


@dataclass(frozen=True)
class Done:
    """The outcome of a statement without rows."""


Outcome: TypeAlias = "Result | Done"


@dataclass(frozen=True)
class Identity:
    """The user of a session; ``cipher`` is empty without TLS."""

    connection_id: int
    user: str
    host: str
    cipher: str


@dataclass(frozen=True)
class Process:
    """One line of the process list."""

    id: int
    user: str
    host: str
    database: str | None
    command: str
    seconds: int
    info: str | None


class Server(Protocol):
    """The server as seen by a session; safe to call from any thread."""

    def processes(self) -> Iterable[Process]: ...

    def kill(self, connection_id: int, *, query_only: bool) -> bool:
        """False if there is no such connection."""

    def status(self) -> Iterable[tuple[str, str]]: ...

    def settings(self) -> Mapping[str, Setting]:
        """System variables that reflect how the server was started."""


@dataclass(frozen=True)
class Prepared:
    """A prepared statement; ``query`` is None unless it is a SELECT."""

    text: str
    query: Query | None
    parameters: int
    columns: tuple[ColumnDefinition, ...]


class Session:
    """``arm(seconds, fault)`` schedules a stop of the running statement with ``fault`` after ``seconds``."""

    def __init__(
        self, engine: Engine, server: Server, arm: Callable[[float, SqlError], None], identity: Identity
    ) -> None:
        self.engine = engine
        self.server = server
        self.identity = identity
        self.database: str | None = None
        self.variables = Variables(server.settings())
        self.user_variables: dict[str, Value] = {}
        self.in_transaction = False
        self.running: str | None = None
        self._arm = arm
        self._cursor: duckdb.DuckDBPyConnection = engine.cursor()
        self._fault: SqlError | None = None
        self._stopped = threading.Event()
        self._last_error: SqlError | None = None

    @property
    def status(self) -> Status:
        status = Status.AUTOCOMMIT if self.variables.get("autocommit") else Status(0)
        return status | Status.IN_TRANSACTION if self.in_transaction else status

    # --- stopping, from any thread

    def stop(self, fault: SqlError) -> None:
        """Make the running statement fail with ``fault``; repeat until the statement has ended."""
        self._fault = self._fault or fault
        self._stopped.set()
        self._cursor.interrupt()

    def check(self) -> None:
        """Raise the fault of a stop, if there was one."""
        if self._fault is not None:
            raise self._fault

    def translated_error(self, error: SqlError) -> SqlError:
        """``error``, or the fault of the stop if that caused the interruption."""
        fault = self._fault if self._fault is not None and error.number == 1317 else error
        self._last_error = fault
        return fault

    def begin(self, info: str) -> None:
        """Call before each statement: clears the stop of the previous one."""
        self._fault = None
        self._stopped.clear()
        self.running = info

    def end(self) -> None:
        self.running = None

    def reset(self) -> None:
        self.variables.reset()
        self.user_variables.clear()
        self.in_transaction = False
        self._last_error = None

    def close(self) -> None:
        self._cursor.close()

    # --- statements

    def use(self, database: str) -> None:
        known = self.engine.catalog.database(database)
        if known is None:
            raise faults.unknown_database(database)
        self.database = known

    def execute(self, text: str, *, binary: bool = False) -> Outcome:
        """Execute one statement. Raises faults.SqlError."""
        plain = without_comments(text)
        self._take_limit(plain.max_execution_ms)
        if not plain.text:
            raise SqlError(1065, "42000", "Query was empty")
        return self._dispatch(plain.text, binary)

    def prepare(self, text: str) -> Prepared:
        plain = without_comments(text).text
        verb = _verb(plain)
        if verb in _QUERY_VERBS:
            query = parse(plain)
            translated = dialect.translate(query, self._scope(None))
            described = run(self._cursor, translated, binary=True, describe_only=True)
            return Prepared(plain, query, query.parameters, described.columns)
        if verb not in _STATEMENTS:
            raise _refusal(verb, plain)
        if verb in ("SHOW", "DESCRIBE", "DESC"):
            described = run(self._cursor, self._show_query(plain), binary=True, describe_only=True)
            return Prepared(plain, None, 0, described.columns)
        return Prepared(plain, None, 0, ())

    def execute_prepared(self, prepared: Prepared, parameters: Sequence[Value]) -> Outcome:
        self._take_limit(None)
        if prepared.query is None:
            return self._dispatch(prepared.text, True)
        return self._run(dialect.translate(prepared.query, self._scope(parameters)), True)

    def _dispatch(self, text: str, binary: bool) -> Outcome:
        verb = _verb(text)
        if verb in _QUERY_VERBS:
            query = parse(text)
            if query.parameters:
                raise faults.syntax("?")
            return self._run(dialect.translate(query, self._scope(())), binary)
        statement = _STATEMENTS.get(verb)
        if statement is None:
            raise _refusal(verb, text)
        return statement(self, text, binary)

    def _run(self, translated: Translated, binary: bool) -> Result:
        if translated.sleep_s:
            self._stopped.wait(translated.sleep_s)
        self.check()
        return run(self._cursor, translated, binary=binary)

    def _scope(self, parameters: Sequence[Value] | None) -> Scope:
        return Scope(
            catalog=self.engine.catalog,
            database=self.database,
            now=dt.datetime.now(dt.UTC).replace(tzinfo=None),
            system_variable=self.variables.get,
            user_variables=self.user_variables,
            functions={
                "VERSION": VERSION,
                "DATABASE": self.database,
                "USER": f"{self.identity.user}@{self.identity.host}",
                "SYSTEM_USER": f"{self.identity.user}@{self.identity.host}",
                "CURRENT_USER": f"{self.identity.user}@%",
                "CONNECTION_ID": self.identity.connection_id,
                "LAST_INSERT_ID": 0,
                "FOUND_ROWS": 0,
                "ROW_COUNT": -1,
            },
            processes=self._process_query,
            parameters=parameters,
        )

    def _process_query(self) -> str:
        names = ("ID", "USER", "HOST", "DB", "COMMAND", "TIME", "STATE", "INFO")
        selects = []
        for line in self.server.processes():
            state = "executing" if line.info else ""
            values = (line.id, line.user, line.host, line.database, line.command, line.seconds, state, line.info)
            kinds = ("BIGINT", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", "BIGINT", "VARCHAR", "VARCHAR")
            columns = (f"CAST({literal(v)} AS {k}) AS {n}" for v, k, n in zip(values, kinds, names, strict=True))
            selects.append(f"SELECT {', '.join(columns)}")
        return " UNION ALL ".join(selects)

    def _take_limit(self, hint_ms: int | None) -> None:
        """The time limit of this statement: the hint, MySQL's variable (ms), or MariaDB's (s)."""
        milliseconds = hint_ms or int(self.variables.get("max_execution_time"))
        seconds = float(self.variables.get("max_statement_time"))
        if milliseconds and not 0 < seconds < milliseconds / 1000:
            self._arm(milliseconds / 1000, faults.execution_time_exceeded())
        elif seconds:
            self._arm(seconds, faults.statement_time_exceeded())

    def _show(self, text: str, binary: bool) -> Outcome:
        return run(self._cursor, self._show_query(text), binary=binary)

    def _show_query(self, text: str) -> Translated:
        scope = self._scope(())
        if _verb(text) == "SHOW":
            facts = show.ServerFacts(self.variables.shown, self._status, self._warnings)
            return Translated(show.query(text, scope, facts), [], [])
        sql = show.describe(text, scope)
        if sql is None:
            raise faults.syntax(text)
        return Translated(sql, [], [])

    def _explain(self, text: str, binary: bool) -> Outcome:
        """EXPLAIN of a table describes it; of a query it returns DuckDB's plan, as rows of one text column."""
        if show.describe(text, self._scope(())) is not None:
            return self._show(text, binary)
        match = _EXPLAIN.match(text)
        if match is None:
            raise faults.syntax(text)
        translated = dialect.translate(parse(text[match.end() :]), self._scope(()))
        plan = "\n".join(row[1] for row in rows_of(self._cursor, replace(translated, sql=f"EXPLAIN {translated.sql}")))
        return run(self._cursor, Translated(f'SELECT {literal(plan)} AS "EXPLAIN"', [], []), binary=binary)

    def _status(self) -> Iterable[tuple[str, str]]:
        return [*self.server.status(), ("Ssl_cipher", self.identity.cipher)]

    def _warnings(self) -> Iterable[tuple[str, int, str]]:
        error = self._last_error
        return [] if error is None else [("Error", error.number, error.message)]

    def _use(self, text: str, binary: bool) -> Outcome:
        match = re.fullmatch(r"USE\s+(?:`([^`]+)`|([\w$-]+))", text, re.IGNORECASE)
        if match is None:
            raise faults.syntax(text[4:])
        self.use(match[1] or match[2])
        return Done()

    def _start(self, text: str, binary: bool) -> Outcome:
        if not _BEGIN.fullmatch(text):
            raise faults.syntax(text)
        self.in_transaction = True
        return Done()

    def _finish(self, text: str, binary: bool) -> Outcome:
        self.in_transaction = bool(re.search(r"\bAND\s+CHAIN\b|\bTO\b", text, re.IGNORECASE)) and self.in_transaction
        return Done()

    def _nothing(self, text: str, binary: bool) -> Outcome:
        """Locks, flushes and savepoints have no effect: the data never changes."""
        return Done()

    def _kill(self, text: str, binary: bool) -> Outcome:
        match = re.fullmatch(r"KILL\s+(?:HARD\s+|SOFT\s+)?(?:(QUERY|CONNECTION)\s+)?(\d+)", text, re.IGNORECASE)
        if match is None:
            raise faults.syntax(text[5:])
        number = int(match[2])
        if not self.server.kill(number, query_only=(match[1] or "").upper() == "QUERY"):
            raise faults.unknown_thread(number)
        self.check()
        return Done()

    def _set(self, text: str, binary: bool) -> Outcome:
        limited = _SET_STATEMENT.fullmatch(text)
        if limited is not None:
            return self._set_for_one(limited[1], limited[2], binary)
        for item in _split(text[3:]):
            self._set_one(item)
        return Done()

    def _set_for_one(self, items: str, statement: str, binary: bool) -> Outcome:
        """MariaDB's SET STATEMENT name=value FOR ...: the settings apply to that statement only."""
        before = self.variables.copy()
        try:
            for item in _split(items):
                self._set_one(item)
            self._take_limit(None)
            return self._dispatch(statement, binary)
        finally:
            self.variables = before

    def _set_one(self, item: str) -> None:
        if match := _SET_NAMES.fullmatch(item):
            charset = match[1].strip("'\"").lower()
            if charset not in CHARSETS:
                raise faults.unknown_charset(charset)
            return
        if match := _SET_TRANSACTION.fullmatch(item):
            return
        match = _ASSIGNMENT.fullmatch(item)
        if match is None:
            raise faults.syntax(item)
        if (match["scope"] or "").rstrip(". ").upper() in ("GLOBAL", "PERSIST"):
            raise SqlError(1227, "42000", "Access denied; you need the SUPER privilege for this operation")
        value = self._value(match["value"].strip())
        if match["user"] is not None:
            self.user_variables[match["user"].strip("`'\"").lower()] = value
        else:
            self.variables.set(match["name"].strip("`"), value)
            if match["name"].lower() == "autocommit":
                self.in_transaction = False

    def _value(self, text: str) -> Value:
        """The value after the = of SET: a bare word is a string, DEFAULT is None."""
        if re.fullmatch(r"[A-Za-z_][\w-]*", text) and text.upper() not in ("NULL", "CURRENT_TIMESTAMP"):
            return None if text.upper() == "DEFAULT" else text
        if text.upper() == "NULL":
            return None
        translated = dialect.translate(parse(f"SELECT {text}"), self._scope(()))
        rows = rows_of(self._cursor, translated)
        return rows[0][0] if rows else None


def _verb(text: str) -> str:
    match = re.match(r"[\s(]*(\w*)", text)
    return match[1].upper() if match else ""


def _refusal(verb: str, text: str) -> SqlError:
    return faults.read_only() if verb in _WRITES else faults.syntax(text)


def _split(text: str) -> list[str]:
    """Split a list at commas outside quotes and parentheses."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"|`[^`]*+`|[(),]", text, re.DOTALL):
        sign = match[0]
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    return [*parts, text[start:].strip()]


_QUERY_VERBS = frozenset({"SELECT", "WITH", "TABLE"})
_WRITES = frozenset({
    "INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "LOAD", "GRANT",
    "REVOKE", "OPTIMIZE", "REPAIR", "ANALYZE", "IMPORT", "INSTALL", "UNINSTALL", "CALL", "HANDLER", "XA",
})  # fmt: skip
_EXPLAIN = re.compile(r"(?:EXPLAIN|DESCRIBE|DESC)\s+(?:(?:EXTENDED|ANALYZE|FORMAT\s*=\s*\w+)\s+)*", re.IGNORECASE)
_BEGIN = re.compile(
    r"BEGIN(?:\s+WORK)?|START\s+TRANSACTION(?:\s*,?\s*(?:WITH\s+CONSISTENT\s+SNAPSHOT|READ\s+ONLY|READ\s+WRITE))*",
    re.IGNORECASE,
)
_SET_STATEMENT = re.compile(r"SET\s+STATEMENT\s+(.+?)\s+FOR\s+(.+)", re.IGNORECASE | re.DOTALL)
_SET_NAMES = re.compile(
    r"(?:NAMES|CHARACTER\s+SET|CHARSET)\s*=?\s*('\w+'|\"\w+\"|\w+)(?:\s+COLLATE\s+\S+)?", re.IGNORECASE
)
_SET_TRANSACTION = re.compile(
    r"(?:(?:SESSION|LOCAL)\s+)?TRANSACTION\s+(?:ISOLATION\s+LEVEL\s+[\w\s]+|READ\s+(?:ONLY|WRITE))", re.IGNORECASE
)
_ASSIGNMENT = re.compile(
    r"""(?:@(?P<user>[\w.$]+|`[^`]+`|'[^']+')
       | (?:@@)?(?P<scope>(?:GLOBAL|SESSION|LOCAL|PERSIST)(?:\s*\.\s*|\s+))?(?P<name>\w+|`\w+`))
       \s*:?=\s*(?P<value>.+)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_STATEMENTS: dict[str, Callable[[Session, str, bool], Outcome]] = {
    "SHOW": Session._show,
    "DESCRIBE": Session._explain,
    "DESC": Session._explain,
    "EXPLAIN": Session._explain,
    "USE": Session._use,
    "SET": Session._set,
    "BEGIN": Session._start,
    "START": Session._start,
    "COMMIT": Session._finish,
    "ROLLBACK": Session._finish,
    "SAVEPOINT": Session._nothing,
    "RELEASE": Session._nothing,
    "LOCK": Session._nothing,
    "UNLOCK": Session._nothing,
    "FLUSH": Session._nothing,
    "DO": Session._nothing,
    "KILL": Session._kill,
}
