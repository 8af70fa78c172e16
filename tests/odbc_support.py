"""The servers of the tests through unixODBC."""

from __future__ import annotations

from urllib.parse import urlsplit

from services import unavailable

POSTGRES, MARIADB = "PostgreSQL Unicode", "MariaDB Unicode"


def odbc_of_postgres(url: str) -> str:
    return _odbc(POSTGRES, url)


def odbc_of_mariadb(url: str) -> str:
    return _odbc(MARIADB, url)


def _odbc(driver: str, url: str) -> str:
    try:
        import pyodbc
    except ImportError:
        unavailable("unixODBC")
    if driver not in pyodbc.drivers():
        unavailable(f"the ODBC driver {driver}")
    parts = urlsplit(url)
    login = f"UID={parts.username};PWD={{{parts.password or ''}}}"
    place = f"Server={parts.hostname};Port={parts.port};Database={parts.path[1:]}"
    return f"odbc:Driver={{{driver}}};{place};{login};"
