"""Any database with an ADBC driver, a shared library that returns Arrow data."""

from fluxport.sources.adbc.source import AdbcSource

__all__ = ["AdbcSource"]
