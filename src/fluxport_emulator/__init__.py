"""A MySQL server without MySQL: the wire protocol over an embedded DuckDB with sample tables, read-only.

For development, demonstrations and tests: a package beside the product, with which it shares the errors alone, and
whose extra ``demo`` brings DuckDB. Clients and drivers cannot tell it from MySQL 8.0 by its protocol; its SQL is
what sqlglot understands of MySQL's, answered by DuckDB. Known to differ: text compares byte by byte (it says
``utf8mb4_bin``), ``/`` of two integers is a DOUBLE, a moment that was computed in microseconds shows them all,
``SLEEP`` waits once for a statement and not for each row, and no text is silently taken for a number.
"""
