"""MySQL's errors: the number, SQLSTATE and message that clients expect."""

from __future__ import annotations


class SqlError(Exception):
    """An error of one statement; the connection stays open."""

    def __init__(self, number: int, state: str, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.state = state
        self.message = message


class FatalError(SqlError):
    """An error after which the server closes the connection."""


def syntax(near: str, line: int = 1) -> SqlError:
    return SqlError(
        1064,
        "42000",
        "You have an error in your SQL syntax; check the manual for the right syntax to use "
        f"near '{near[:80]}' at line {line}",
    )


def read_only() -> SqlError:
    return SqlError(
        1290, "HY000", "The MySQL server is running with the --read-only option so it cannot execute this statement"
    )


def unknown_database(name: str) -> SqlError:
    return SqlError(1049, "42000", f"Unknown database '{name}'")


def no_database() -> SqlError:
    return SqlError(1046, "3D000", "No database selected")


def unknown_table(database: str, table: str) -> SqlError:
    return SqlError(1146, "42S02", f"Table '{database}.{table}' doesn't exist")


def unknown_column(name: str, where: str = "field list") -> SqlError:
    return SqlError(1054, "42S22", f"Unknown column '{name}' in '{where}'")


def unknown_variable(name: str) -> SqlError:
    return SqlError(1193, "HY000", f"Unknown system variable '{name}'")


def unknown_thread(number: int) -> SqlError:
    return SqlError(1094, "HY000", f"Unknown thread id: {number}")


def unknown_charset(name: str) -> SqlError:
    return SqlError(1115, "42000", f"Unknown character set: '{name}'")


def unknown_statement(number: int) -> SqlError:
    return SqlError(1243, "HY000", f"Unknown prepared statement handler ({number}) given to EXECUTE")


def unsupported(what: str) -> SqlError:
    return SqlError(1235, "42000", f"This version of MySQL doesn't yet support '{what}'")


def interrupted() -> SqlError:
    return SqlError(1317, "70100", "Query execution was interrupted")


def execution_time_exceeded() -> SqlError:
    return SqlError(3024, "HY000", "Query execution was interrupted, maximum statement execution time exceeded")


def statement_time_exceeded() -> SqlError:
    """MariaDB's error for its own variable, max_statement_time."""
    return SqlError(1969, "70100", "Query execution was interrupted (max_statement_time exceeded)")


def access_denied(user: str, host: str, with_password: bool) -> FatalError:
    used = "YES" if with_password else "NO"
    return FatalError(1045, "28000", f"Access denied for user '{user}'@'{host}' (using password: {used})")


def too_many_connections() -> FatalError:
    return FatalError(1040, "08004", "Too many connections")


def bad_handshake() -> FatalError:
    return FatalError(1043, "08S01", "Bad handshake")


def malformed_packet() -> FatalError:
    return FatalError(1835, "HY000", "Malformed communication packet")


def packets_out_of_order() -> FatalError:
    return FatalError(1156, "08S01", "Got packets out of order")


def packet_too_large() -> FatalError:
    return FatalError(1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes")


def shutting_down() -> FatalError:
    return FatalError(1053, "08S01", "Server shutdown in progress")
