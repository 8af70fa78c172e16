"""MySQL and MariaDB; nothing here imports numpy or pyarrow before a query has been sent."""

from fluxport.sources.mysql.source import MySqlSource

__all__ = ["MySqlSource"]
