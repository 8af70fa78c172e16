"""DuckDB: database files, and files of rows in a folder."""

from fluxport.sources.duckdb.source import DuckDbSource

__all__ = ["DuckDbSource"]
