"""A MySQL server without MySQL: the wire protocol over an embedded DuckDB with sample tables, read-only.

For development, demonstrations and tests: a separate package that shares only the product's errors; the extra ``demo``
installs DuckDB. Clients and drivers cannot distinguish its protocol from MySQL 8.0's; its SQL is the part of MySQL's
that sqlglot parses, executed by DuckDB. Known differences: text compares byte by byte (reported as ``utf8mb4_bin``),
``/`` of two integers is a DOUBLE, computed timestamps show all microseconds, ``SLEEP`` waits once per statement and not
for each row, and text is never silently converted to a number.
"""
