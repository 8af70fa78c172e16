"""System variables that clients read when they connect, and those that they may set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from fluxport_emulator import faults

Setting: TypeAlias = "bool | int | float | str"

VERSION = "8.0.39-fluxport"
VERSION_COMMENT = "Fluxport emulator (embedded DuckDB, read-only)"
CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8", "binary", "ascii", "default"})
SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)

_CHANGEABLE: dict[str, Setting] = {
    "auto_increment_increment": 1,
    "auto_increment_offset": 1,
    "autocommit": True,
    "big_tables": False,
    "binlog_format": "ROW",
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_database": "utf8mb4",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": "utf8mb4_bin",
    "collation_database": "utf8mb4_bin",
    "collation_server": "utf8mb4_bin",
    "completion_type": "NO_CHAIN",
    "default_storage_engine": "InnoDB",
    "div_precision_increment": 4,
    "foreign_key_checks": True,
    "group_concat_max_len": 1048576,
    "information_schema_stats_expiry": 0,
    "innodb_lock_wait_timeout": 50,
    "interactive_timeout": 28800,
    "lc_time_names": "en_US",
    "lock_wait_timeout": 31536000,
    "low_priority_updates": False,
    "max_execution_time": 0,
    "max_heap_table_size": 16777216,
    "max_statement_time": 0.0,
    "net_buffer_length": 16384,
    "net_read_timeout": 30,
    "net_write_timeout": 60,
    "optimizer_switch": "",
    "session_track_gtids": "OFF",
    "session_track_schema": False,
    "session_track_system_variables": "",
    "show_create_table_verbosity": False,
    "sql_auto_is_null": False,
    "sql_big_selects": True,
    "sql_buffer_result": False,
    "sql_log_bin": True,
    "sql_mode": SQL_MODE,
    "sql_notes": True,
    "sql_quote_show_create": True,
    "sql_require_primary_key": False,
    "sql_safe_updates": False,
    "sql_select_limit": 18446744073709551615,
    "sql_warnings": False,
    "time_zone": "SYSTEM",
    "timestamp": 0,
    "tmp_table_size": 16777216,
    "transaction_isolation": "REPEATABLE-READ",
    "transaction_read_only": False,
    "tx_isolation": "REPEATABLE-READ",
    "tx_read_only": False,
    "unique_checks": True,
    "wait_timeout": 28800,
}
_FIXED: dict[str, Setting] = {
    "basedir": "/",
    "character_set_filesystem": "binary",
    "character_set_system": "utf8mb3",
    "collation_name": "utf8mb4_bin",
    "event_scheduler": "OFF",
    "gtid_mode": "OFF",
    "have_openssl": "YES",
    "have_profiling": "NO",
    "have_query_cache": "NO",
    "have_ssl": "YES",
    "hostname": "localhost",
    "init_connect": "",
    "innodb_version": "8.0.39",
    "innodb_read_only": True,
    "license": "Apache-2.0",
    "local_infile": False,
    "log_bin": False,
    "lower_case_file_system": False,
    "lower_case_table_names": 0,
    "max_allowed_packet": 16777216,
    "max_connections": 100,
    "performance_schema": False,
    "port": 3306,
    "protocol_version": 10,
    "query_cache_size": 0,
    "query_cache_type": "OFF",
    "read_only": True,
    "server_id": 1,
    "server_uuid": "00000000-0000-0000-0000-000000000001",
    "skip_networking": False,
    "super_read_only": True,
    "system_time_zone": "UTC",
    "tls_version": "TLSv1.2,TLSv1.3",
    "version": VERSION,
    "version_comment": VERSION_COMMENT,
    "version_compile_machine": "x86_64",
    "version_compile_os": "Linux",
}
_WORDS = {"on": 1, "true": 1, "yes": 1, "off": 0, "false": 0, "no": 0}


class Variables:
    """The system variables of one session; setting a global one is refused."""

    def __init__(self, fixed: Mapping[str, Setting]) -> None:
        self._fixed = _FIXED | dict(fixed)
        self._now = dict(_CHANGEABLE)

    def get(self, name: str) -> Setting:
        key = name.lower()
        if key in self._now:
            return self._now[key]
        if key in self._fixed:
            return self._fixed[key]
        raise faults.unknown_variable(name)

    def set(self, name: str, value: object) -> None:
        """``value`` None means DEFAULT. Raises faults.SqlError (1193, 1231, 1238)."""
        key = name.lower()
        if key not in _CHANGEABLE:
            self.get(name)
            raise faults.SqlError(1238, "HY000", f"Variable '{name}' is a read only variable")
        default = _CHANGEABLE[key]
        self._now[key] = default if value is None else _converted(name, value, default)

    def copy(self) -> Variables:
        variables = Variables(self._fixed)
        variables._now = dict(self._now)
        return variables

    def reset(self) -> None:
        self._now = dict(_CHANGEABLE)

    def shown(self) -> Iterator[tuple[str, str]]:
        """Name and text of every variable, as SHOW VARIABLES lists them."""
        everything = self._fixed | self._now
        for name in sorted(everything):
            value = everything[name]
            yield name, ("ON" if value else "OFF") if isinstance(value, bool) else str(value)


def _converted(name: str, value: object, default: Setting) -> Setting:
    if isinstance(default, str):
        return str(value)
    number = _WORDS.get(str(value).lower(), value)
    try:
        return type(default)(float(str(number)))
    except ValueError:
        raise faults.SqlError(1231, "42000", f"Variable '{name}' can't be set to the value of '{value}'") from None
