"""MySQL functions that neither DuckDB nor sqlglot's translation supports, as DuckDB macros."""

from __future__ import annotations

# The limit for the text of one call, like MySQL's max_allowed_packet; longer results are NULL. DuckDB's own memory
# limit does not count such text.
TEXT_BYTES_MAX = 64 << 20

MACROS: tuple[str, ...] = tuple(
    f"CREATE MACRO {definition}"
    for definition in (
        """mysql_length(x) AS CASE typeof(x) WHEN 'BLOB' THEN octet_length(CAST(x AS BLOB))
           ELSE strlen(CAST(x AS VARCHAR)) END""",
        f"""mysql_repeat(s, n) AS CASE WHEN strlen(CAST(s AS VARCHAR)) * CAST(n AS HUGEINT) <= {TEXT_BYTES_MAX}
           THEN repeat(s, CAST(least(n, {TEXT_BYTES_MAX}) AS BIGINT)) END""",
        # The optimizer evaluates calls of constants regardless of CASE, so each call is bounded as well.
        f"""mysql_lpad(s, n, p) AS CASE WHEN n <= {TEXT_BYTES_MAX}
           THEN lpad(s, CAST(least(n, {TEXT_BYTES_MAX}) AS INTEGER), p) END""",
        f"""mysql_rpad(s, n, p) AS CASE WHEN n <= {TEXT_BYTES_MAX}
           THEN rpad(s, CAST(least(n, {TEXT_BYTES_MAX}) AS INTEGER), p) END""",
        "mysql_dayofweek(x) AS dayofweek(CAST(x AS DATE)) + 1",
        "mysql_weekday(x) AS isodow(CAST(x AS DATE)) - 1",
        """mysql_week(x, mode) AS CASE mode
           WHEN 0 THEN CAST(strftime(CAST(x AS DATE), '%U') AS INTEGER)
           WHEN 3 THEN CAST(strftime(CAST(x AS DATE), '%V') AS INTEGER)
           WHEN 5 THEN CAST(strftime(CAST(x AS DATE), '%W') AS INTEGER)
           ELSE error('WEEK() supports only the modes 0, 3 and 5 here') END""",
        """mysql_yearweek(x) AS CASE WHEN mysql_week(x, 0) > 0 THEN year(CAST(x AS DATE)) * 100 + mysql_week(x, 0)
           ELSE (year(CAST(x AS DATE)) - 1) * 100 + mysql_week(make_date(year(CAST(x AS DATE)) - 1, 12, 31), 0) END""",
        "mysql_microsecond(x) AS microsecond(CAST(x AS TIMESTAMP)) % 1000000",
        "mysql_to_days(x) AS CAST(x AS DATE) - DATE '1970-01-01' + 719528",
        "from_days(n) AS CAST(DATE '1970-01-01' + CAST(n - 719528 AS INTEGER) AS DATE)",
        "makedate(y, n) AS CAST(make_date(y, 1, 1) + CAST(n - 1 AS INTEGER) AS DATE)",
        "unix_timestamp() AS CAST(epoch(now()) AS BIGINT), (x) AS CAST(epoch(CAST(x AS TIMESTAMP)) AS BIGINT)",
        "sec_to_time(n) AS printf('%02d:%02d:%02d', CAST(n // 3600 AS BIGINT), CAST(n // 60 % 60 AS BIGINT), "
        "CAST(n % 60 AS BIGINT))",
        "time_to_sec(x) AS CAST(epoch(CAST(x AS TIME)) AS BIGINT)",
        """substring_index(s, d, n) AS CASE
           WHEN n > 0 THEN array_to_string(list_slice(string_split(s, d), 1, n), d)
           WHEN n < 0 THEN array_to_string(list_slice(string_split(s, d),
             greatest(1, len(string_split(s, d)) + n + 1), len(string_split(s, d))), d)
           ELSE '' END""",
        "strcmp(a, b) AS CASE WHEN a = b THEN 0 WHEN a < b THEN -1 WHEN a > b THEN 1 END",
        "find_in_set(s, l) AS coalesce(list_position(string_split(l, ','), s), 0)",
        "mysql_to_base64(s) AS to_base64(encode(s))",
        "quote(s) AS '''' || replace(replace(s, '\\', '\\\\'), '''', '\\''') || ''''",
        "oct(n) AS to_base(n, 8)",
        "json_unquote(x) AS json_extract_string(CAST(x AS JSON), '$')",
        """json_length(x) AS CASE json_type(CAST(x AS JSON))
           WHEN 'ARRAY' THEN json_array_length(CAST(x AS JSON))
           WHEN 'OBJECT' THEN len(json_keys(CAST(x AS JSON))) ELSE 1 END""",
        """inet_aton(a) AS CAST(split_part(a, '.', 1) AS BIGINT) * 16777216
           + CAST(split_part(a, '.', 2) AS BIGINT) * 65536
           + CAST(split_part(a, '.', 3) AS BIGINT) * 256
           + CAST(split_part(a, '.', 4) AS BIGINT)""",
        """inet_ntoa(n) AS concat_ws('.', (n >> 24) & 255, (n >> 16) & 255, (n >> 8) & 255, n & 255)""",
    )
)
