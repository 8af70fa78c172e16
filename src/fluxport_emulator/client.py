"""One connection from the greeting to its end: the handshake, then one command at a time."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fluxport_emulator import faults, parameters, wire
from fluxport_emulator.auth import nonce
from fluxport_emulator.channel import Channel
from fluxport_emulator.engine import Engine, Result
from fluxport_emulator.faults import FatalError, SqlError
from fluxport_emulator.login import Login, LoginState, authenticate, decoded, greet
from fluxport_emulator.packets import CHUNK_BYTES
from fluxport_emulator.session import Done, Identity, Prepared, Process, Server, Session
from fluxport_emulator.wire import Capability, Command, Payload

T = TypeVar("T")
log = logging.getLogger(__name__)

INTERRUPT_AGAIN_S = 0.05


@dataclass(frozen=True)
class ClientLimits:
    statements_max: int
    long_data_bytes_max: int
    handshake_s: float
    idle_s: float


@dataclass
class _Statement:
    prepared: Prepared
    types: list[int] = field(default_factory=list)
    long_data: dict[int, bytes] = field(default_factory=dict)


class Client:
    """Runs in the event loop; every statement runs in ``pool``, and ``kill`` and ``stop`` may interrupt it there."""

    def __init__(
        self,
        number: int,
        host: str,
        channel: Channel,
        engine: Engine,
        server: Server,
        state: LoginState,
        pool: Executor,
    ) -> None:
        self.number = number
        self.host = host
        self.since = time.monotonic()
        self.session: Session | None = None
        self._channel = channel
        self._engine = engine
        self._server = server
        self._login_state = state
        self._pool = pool
        self._capabilities = Capability(0)
        self._statements: dict[int, _Statement] = {}
        self._statement_number = 0
        self._busy = False
        self._killed = False
        self._deadline: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def process(self) -> Process:
        session = self.session
        info = session.running if session else None
        database = session.database if session else None
        command = "Query" if info else "Sleep" if session else "Connect"
        user = session.identity.user if session else "unauthenticated user"
        return Process(self.number, user, self.host, database, command, int(time.monotonic() - self.since), info)

    def kill(self, *, query_only: bool) -> None:
        """KILL QUERY or KILL CONNECTION, called in the event loop."""
        self._killed = self._killed or not query_only
        if self._busy:
            self._stop(faults.interrupted())
        elif self._killed:
            self._channel.abort()

    async def serve(self, limits: ClientLimits) -> None:
        """From the greeting until either side ends the connection."""
        try:
            async with asyncio.timeout(limits.handshake_s):
                await self._log_in()
            while not self._killed and await self._next_command(limits):
                pass
        except SqlError as fault:
            await self._send_fatal(fault)
        except (EOFError, OSError, TimeoutError):
            pass  # disconnected, or idle for too long
        finally:
            try:
                if self.session is not None:
                    await self._loop.run_in_executor(self._pool, self.session.close)
                await self._channel.close()
            finally:
                self._channel.abort()  # in case closing was canceled

    async def _send_fatal(self, fault: SqlError) -> None:
        try:
            async with asyncio.timeout(2):
                await self._channel.send_error(fault)
        except (OSError, TimeoutError):
            pass

    async def _log_in(self) -> None:
        salt = nonce()
        login = await greet(self._channel, self._login_state, self.number, salt, self._on_gone)
        self._capabilities = login.capabilities
        await authenticate(self._channel, self._login_state, login, self.host, salt, self._in_pool)
        identity = Identity(self.number, login.user, self.host, self._channel.cipher)
        self.session = Session(self._engine, self._server, self._arm_threadsafe, identity)
        await self._enter(login.database)

    async def _enter(self, database: str) -> None:
        """The last step of a login: select the requested database; closes the connection if it does not exist."""
        if database:
            try:
                self._logged_in().use(database)
            except SqlError as error:
                raise FatalError(error.number, error.state, error.message) from None
        await self._ok()

    # --- commands

    async def _next_command(self, limits: ClientLimits) -> bool:
        """Handle one command; False after COM_QUIT."""
        self._channel.sequence = 0
        async with asyncio.timeout(limits.idle_s):
            packet = Payload(await self._channel.read())
        command = packet.integer(1)
        if command == Command.QUIT:
            return False
        if command == Command.STMT_SEND_LONG_DATA:  # has no response, not even an error
            self._long_data(packet, limits)
            return True
        if command == Command.STMT_CLOSE:
            self._statements.pop(packet.integer(4), None)
            return True
        self.since = time.monotonic()
        try:
            await self._handle(command, packet, limits)
        except (FatalError, OSError, EOFError):
            raise
        except SqlError as error:
            await self._channel.send_error(error)
        except Exception:
            # A bug in the emulator: this client gets an error, as from any server; others are not affected.
            log.exception("a statement of connection %d failed in the emulator itself", self.number)
            await self._channel.send_error(SqlError(1105, "HY000", "Internal error of the emulator; see its log"))
        return True

    async def _handle(self, command: int, packet: Payload, limits: ClientLimits) -> None:
        session = self._logged_in()
        if command == Command.QUERY:
            text = decoded(packet.rest())
            await self._statement(text, lambda: session.execute(text))
        elif command == Command.STMT_PREPARE:
            await self._prepare(decoded(packet.rest()), limits)
        elif command == Command.STMT_EXECUTE:
            await self._execute(packet)
        elif command == Command.STMT_RESET:
            self._known(packet.integer(4)).long_data.clear()
            await self._ok()
        elif command == Command.INIT_DB:
            session.use(decoded(packet.rest()))
            await self._ok()
        elif command == Command.PING:
            await self._ok()
        elif command == Command.STATISTICS:
            await self._channel.send("  ".join(f"{name}: {value}" for name, value in self._server.status()).encode())
        elif command == Command.FIELD_LIST:
            await self._field_list(packet)
        elif command == Command.PROCESS_KILL:
            number = packet.integer(4)
            await self._statement(f"KILL {number}", lambda: session.execute(f"KILL {number}"))
        elif command == Command.SET_OPTION:
            if packet.integer(2) == 0:
                raise faults.unsupported("multi-statements")
            await self._channel.send(wire.eof(session.status))
        elif command in (Command.RESET_CONNECTION, Command.CHANGE_USER):
            await self._start_over(packet if command == Command.CHANGE_USER else None)
        else:
            raise SqlError(1047, "08S01", "Unknown command")

    def _logged_in(self) -> Session:
        assert self.session is not None, "commands are read only after the login"
        return self.session

    async def _start_over(self, packet: Payload | None) -> None:
        """COM_RESET_CONNECTION, and COM_CHANGE_USER, which logs in again."""
        session = self._logged_in()
        self._statements.clear()
        if packet is None:
            session.reset()
            await self._ok()
            return
        user = decoded(packet.until_nul())
        packet.take(packet.integer(1))  # a proof based on the nonce of the greeting, which is used up
        login = Login(self._capabilities, user, b"", decoded(packet.until_nul()), plugin="")
        await authenticate(self._channel, self._login_state, login, self.host, b"", self._in_pool)
        session.reset()
        session.identity = replace(session.identity, user=user)
        session.database = None
        await self._enter(login.database)

    async def _statement(self, text: str, execute: Callable[[], Result | Done]) -> None:
        """Run a statement and respond; a stop reaches the statement whenever it arrives."""
        with self._occupied(text) as session:
            outcome = await self._in_pool(execute)
            if isinstance(outcome, Done):
                await self._ok()
                return
            rows = _Rows(outcome, self._channel.sequence, self._head(outcome.columns))
            try:
                await self._stream(session, rows)
            finally:
                await self._in_pool(rows.close)

    @contextmanager
    def _occupied(self, text: str) -> Iterator[Session]:
        """A context in which a statement can be stopped; a stop's own error replaces that of the statement."""
        session = self._logged_in()
        session.begin(text)
        self._busy = True
        try:
            yield session
        except SqlError as error:
            raise session.translated_error(error) from error
        finally:
            self._busy = False
            session.end()
            for timer in (self._deadline, self._again):
                if timer is not None:
                    timer.cancel()
            self._deadline = self._again = None

    async def _stream(self, session: Session, rows: _Rows) -> None:
        more = True
        while more:
            session.check()
            data, more = await self._in_pool(rows.next_chunk)
            self._channel.sequence = rows.sequence
            if more:
                await self._channel.send_framed(data)
        session.check()
        end = wire.ok(session.status, header=0xFE) if self._deprecates_eof else wire.eof(session.status)
        framed, self._channel.sequence = wire.frames(end, self._channel.sequence)
        await self._channel.send_framed(bytes(data) + framed)

    @property
    def _deprecates_eof(self) -> bool:
        return bool(self._capabilities & Capability.DEPRECATE_EOF)

    def _head(self, columns: tuple[wire.ColumnDefinition, ...]) -> list[bytes]:
        head = [wire.lenenc(len(columns)), *map(wire.column_definition, columns)]
        return head if self._deprecates_eof else [*head, wire.eof(self._logged_in().status)]

    async def _prepare(self, text: str, limits: ClientLimits) -> None:
        if len(self._statements) >= limits.statements_max:
            raise SqlError(1461, "42000", f"Can't create more than {limits.statements_max} prepared statements")
        with self._occupied(text) as session:
            prepared = await self._in_pool(lambda: session.prepare(text))
        self._statement_number += 1
        self._statements[self._statement_number] = _Statement(prepared)
        columns = [wire.column_definition(column) for column in prepared.columns]
        parameter = wire.column_definition(wire.ColumnDefinition("?", 253, wire.BINARY, 0, 0, 0))
        end = [] if self._deprecates_eof else [wire.eof(session.status)]
        count = prepared.parameters
        await self._channel.send(
            struct.pack("<BIHHBH", 0, self._statement_number, len(columns), count, 0, 0),
            *([parameter] * count + end if count else []),
            *(columns + end if columns else []),
        )

    async def _execute(self, packet: Payload) -> None:
        number = packet.integer(4)
        statement = self._known(number)
        packet.take(5)  # the requested cursor type (ignored: rows are sent at once) and the iteration count
        prepared = statement.prepared
        values = parameters.read(packet, prepared.parameters, statement.types, statement.long_data)
        statement.long_data.clear()
        session = self._logged_in()
        await self._statement(prepared.text, lambda: session.execute_prepared(prepared, values))

    def _known(self, number: int) -> _Statement:
        statement = self._statements.get(number)
        if statement is None:
            raise faults.unknown_statement(number)
        return statement

    def _long_data(self, packet: Payload, limits: ClientLimits) -> None:
        statement = self._statements.get(packet.integer(4))
        index = packet.integer(2)
        if statement is None or index >= statement.prepared.parameters:
            return
        statement.long_data[index] = statement.long_data.get(index, b"") + packet.rest()
        if sum(map(len, statement.long_data.values())) > limits.long_data_bytes_max:
            raise faults.packet_too_large()

    async def _field_list(self, packet: Payload) -> None:
        session = self._logged_in()
        name = decoded(packet.until_nul()).replace("`", "``")
        prepared = await self._in_pool(lambda: session.prepare(f"SELECT * FROM `{name}`"))
        default = b"\xfb"  # no default value
        columns = [wire.column_definition(column) + default for column in prepared.columns]
        end = wire.ok(session.status, header=0xFE) if self._deprecates_eof else wire.eof(session.status)
        await self._channel.send(*columns, end)

    async def _ok(self) -> None:
        await self._channel.send(wire.ok(self._logged_in().status))

    # --- threads and interruption

    async def _in_pool(self, work: Callable[[], T]) -> T:
        """``work`` in a worker thread; if this task is cancelled, it first stops the work and waits for it."""
        future = self._loop.run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                self._stop(faults.shutting_down())
                await asyncio.wait([future], timeout=INTERRUPT_AGAIN_S)
            if not future.cancelled():
                future.exception()
            raise

    def _stop(self, fault: SqlError) -> None:
        """Interrupt the statement until it ends: DuckDB ignores an interrupt that precedes the start of the query."""
        if self.session is not None and self._busy:
            self.session.stop(fault)
            if self._again is None:
                self._again = self._loop.call_later(INTERRUPT_AGAIN_S, self._stop_again)

    def _stop_again(self) -> None:
        self._again = None
        self._stop(faults.interrupted())

    def _on_gone(self) -> None:
        self._stop(faults.interrupted())

    def _arm_threadsafe(self, seconds: float, fault: SqlError) -> None:
        self._loop.call_soon_threadsafe(self._arm, seconds, fault)

    def _arm(self, seconds: float, fault: SqlError) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(seconds, self._stop, fault)


class _Rows:
    """The response to a query in chunks of about CHUNK_BYTES, head included; pulled in a worker thread."""

    def __init__(self, result: Result, sequence: int, head: list[bytes]) -> None:
        self.sequence = sequence
        self._result = result
        self._head = head
        self._parts: Iterator[tuple[bytes | memoryview, int]] | None = None

    def next_chunk(self) -> tuple[bytes | bytearray | memoryview, bool]:
        """A chunk, and whether more may follow; small batches are combined, a large one is sent unchanged."""
        gathered = bytearray()
        if self._parts is None:
            for payload in self._head:
                framed, self.sequence = wire.frames(payload, self.sequence)
                gathered += framed
            self._parts = self._result.packets(self.sequence)
        for data, sequence in self._parts:
            self.sequence = sequence
            if not gathered and len(data) >= CHUNK_BYTES // 4:
                return data, True
            gathered += data
            if len(gathered) >= CHUNK_BYTES // 4:
                return gathered, True
        return gathered, False

    def close(self) -> None:
        self._parts = None
        self._result.close()
