"""Opens DuckDB so that a statement can only read, and only what the connection allows.

The engine is new for each statement, in memory, and the database file is attached read-only. Its configuration is
locked before the statement is seen. Files that it may read are those of one folder, through the engine's own check of
the path that links lead to; or all, for the operator's own statements, then with the extensions that are installed.
Nothing is ever installed.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxport.errors import Refused
from fluxport.sources.errors import several_statements
from fluxport.stages import PROCESSORS

if TYPE_CHECKING:
    from fluxport.sources.duckdb.scratch import Scratch
    from fluxport.sources.table import Files

MEMORY = "512MiB"  # for tables, sorts, and what is read of files; values come on top
THREADS = min(2, PROCESSORS)  # each holds the pages of a Parquet file that it reads
_NODES = re.compile(r'"type":"(\w+_NODE)"')  # quotes of the statement's own strings are escaped in JSON
_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TAKEN = frozenset({"memory", "system", "temp"})  # names of DuckDB's own databases


def check_installed() -> None:
    """Refused if DuckDB is not installed. It is imported where the statement runs, which takes a while."""
    if importlib.util.find_spec("duckdb") is None:
        raise Refused(
            "DuckDB files, and files read by DuckDB, need the DuckDB engine: pip install 'fluxport[duckdb]'.",
            code="missing_extra",
        )


def module() -> Any:
    import duckdb

    return duckdb


def start(scratch: Scratch, files: Files) -> Any:
    """A connection to an engine without a database."""
    room = scratch.bytes_max
    return module().connect(
        ":memory:",
        config={
            "threads": THREADS,
            "memory_limit": MEMORY,
            "temp_directory": str(scratch.path) if room else "",
            "max_temp_directory_size": f"{max(room, 1)}B",
            "read_ahead_depth": 0,  # no further row groups in memory
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": files == "anywhere",
            "allow_community_extensions": False,
            "python_enable_replacements": False,  # no variable of the program is a table
        },
    )


def attach(connection: Any, path: Path) -> None:
    """Open the database file at ``path``, which must exist, and make it the default one."""
    name = f"{path.stem}_" if path.stem.lower() in _TAKEN else path.stem
    quoted = name.replace('"', '""')
    connection.execute(f'ATTACH {_literal(str(path))} AS "{quoted}" (TYPE duckdb, READ_ONLY)')
    connection.execute(f'USE "{quoted}"')


def lock(connection: Any, files: Files) -> None:
    """Forbid all other files and every change of the configuration."""
    if isinstance(files, Path):
        connection.execute(f"SET allowed_directories = [{_literal(f'{files}/')}]")
    if files != "anywhere":
        connection.execute("SET enable_external_access = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it is written to standard output, where the file may be
    connection.execute("SET lock_configuration = true")


def check_reads(connection: Any, statement: str) -> None:
    """Refused for anything but one statement that only reads, by DuckDB's own syntax tree: a WITH query may be an
    INSERT, or a COPY that writes a file."""
    found = connection.extract_statements(statement)
    if len(found) > 1:
        raise several_statements()
    if [each.type for each in found] == [module().StatementType.SELECT]:
        ((tree,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", [statement]).fetchall()
        nodes = set(_NODES.findall(tree))
        if nodes and nodes <= _READING:
            return
    raise Refused("DuckDB takes one statement that only reads, such as a SELECT.", code="no_result_set")


def table_names(connection: Any, statement: str) -> list[str]:
    """What ``statement`` reads as tables, files among them, by the same tree; none if it is no SELECT."""
    query = "SELECT json_extract_string(json_serialize_sql(?::VARCHAR), '$..table_name')"
    ((names,),) = connection.execute(query, [statement]).fetchall()
    return [str(name) for name in names]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
