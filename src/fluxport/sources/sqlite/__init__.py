"""SQLite files, through the standard library's driver."""

from fluxport.sources.sqlite.source import SqliteSource

__all__ = ["SqliteSource"]
