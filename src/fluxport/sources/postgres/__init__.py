"""PostgreSQL, through libpq; nothing here imports it, or pyarrow, before it is needed."""

from fluxport.sources.postgres.source import PostgresSource

__all__ = ["PostgresSource"]
