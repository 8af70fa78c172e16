"""The same SELECT gives the same headers and the same text from MariaDB and from the emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest
from pymysql.converters import encoders

from emulator_support import emulator
from services import require_mariadb

EXPRESSIONS = """
u.id*2; id div 4; id mod 7; id % 7; -id; score*2; score/3; score+id; round(score,1); round(score); floor(score)
ceil(score); truncate(score,1); abs(-score); sqrt(id); pow(id,2); exp(1); ln(id); log10(id); sign(-id); mod(id,3)
greatest(id,10); least(id,10); radians(id); id & 1; id ^ 3; ~0; 1<<3; bit_count(7); 1.5; 1.50; 1e3; 0.1+0.2; 10/0
length(name); length('é'); char_length('é'); upper(name); lower(name); concat(name,'-',id); concat_ws(',',name,null,id)
substring(name,2,3); substr(name,-2); left(name,3); right(name,2); trim('  a '); ltrim(' a'); rtrim('a ')
replace(name,'User','X'); reverse(name); repeat('ab',3); lpad(id,6,'0'); rpad(name,8,'.'); locate('s',name)
instr(name,'s'); position('e' in name); substring_index(email,'@',1); substring_index(email,'@',-1)
substring_index('a.b.c','.',2); substring_index('a.b.c','.',-5); ascii(name); hex(name); hex(id); md5(name); sha1(name)
sha2(name,256); strcmp(name,'User2'); field(name,'User1','User2'); find_in_set('b','a,b,c'); elt(2,'a','b'); space(3)
format(score*1000,2); quote('it''s'); to_base64(name); bin(id); oct(id); ucase(name); mid(name,2,2); unhex('414243')
year(created_at); month(created_at); day(created_at); hour(created_at); minute(created_at); second(created_at)
date(created_at); dayofweek(created_at); weekday(created_at); dayofyear(created_at); week(created_at)
weekofyear(created_at); yearweek(created_at); yearweek('2020-12-31'); quarter(created_at); monthname(created_at)
dayname(created_at); last_day(created_at); date_format(created_at,'%Y-%m-%d %H:%i:%s')
date_format(created_at,'%b %d, %y %W %j'); date_add(created_at, interval 1 day); date_sub(created_at, interval 2 month)
created_at + interval 1 hour; created_at - interval 1 week; adddate(created_at,1); subdate(created_at, interval 2 hour)
date(created_at) + interval 3 day; datediff('2020-02-01',created_at); timestampdiff(day,created_at,'2021-01-01')
timestampdiff(month,'2019-01-15',created_at); timestampdiff(second,'2020-01-01',created_at); unix_timestamp(created_at)
from_unixtime(1577836800); from_unixtime(1577836800,'%Y'); str_to_date('2020-03-01','%Y-%m-%d'); to_days(created_at)
extract(year from created_at); makedate(2020,32); from_days(737791); sec_to_time(3661); time_to_sec('01:01:01')
timestampadd(minute,5,created_at); cast(created_at as date); cast('2020-01-02' as datetime); microsecond(created_at)
if(id>3,'a','b'); ifnull(null,id); nullif(id,3); coalesce(null,name); case when id=1 then 'x' else 'y' end; id=1; id<>1
case id when 1 then 'one' end; id between 2 and 4; id in (1,2); name like 'User1%'; name like '%\\_%'; not (id=1)
name regexp '^User[12]$'; id is null; id <=> null; id=1 xor id=2; id=1 and 1; 1 || 0; 1 && 0; isnull(id); true; null
cast(id as char); cast(id as signed); cast('12' as unsigned); cast(score as decimal(10,2)); cast(score as signed)
convert(id,char); convert(name using utf8mb4); 7 div 2; 'it''s'; 'a\\nb'; "double"; x'4142'; json_unquote('"a"')
json_extract('{"a":1}','$.a'); json_length('[1,2]'); inet_aton('10.0.0.1'); inet_ntoa(167772161)
"""
QUERIES = [
    "SELECT count(*), count(distinct score), sum(id), avg(score), min(name), max(created_at), bit_or(id) FROM users",
    "SELECT group_concat(id order by id separator '-') FROM users WHERE id < 5",
    "SELECT id mod 3 g, count(*) c FROM users GROUP BY g HAVING c > 3 ORDER BY c DESC, g",
    "SELECT id mod 3 g, count(*) FROM users GROUP BY id mod 3 WITH ROLLUP HAVING g IS NULL",
    "SELECT *, row_number() over (order by id desc) rn FROM users ORDER BY id LIMIT 2",
    "SELECT id, lag(id) over (order by id), sum(id) over (partition by id mod 2 order by id) FROM users ORDER BY id",
    "SELECT u.id, v.name FROM users u LEFT JOIN users v ON u.id = v.id * 2 AND v.id < 5 WHERE u.id < 6 ORDER BY u.id",
    "SELECT name FROM users WHERE id = (SELECT max(id) FROM users WHERE id < 10)",
    "SELECT id FROM users WHERE EXISTS (SELECT 1 FROM users v WHERE v.id = users.id + 1 AND v.id < 4) ORDER BY id",
    "WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
    "SELECT id FROM users WHERE id < 3 UNION SELECT id FROM users WHERE id < 4 ORDER BY id DESC LIMIT 2",
    "(SELECT 1 a) UNION ALL (SELECT 2) ORDER BY a DESC",
    "SELECT t.`count(*)` FROM (SELECT count(*) FROM users WHERE id < 9) t",
    "SELECT id as `my id`, name 'n' FROM users ORDER BY id LIMIT 1",
    "SELECT /*!40001 SQL_NO_CACHE */ id FROM users ORDER BY id LIMIT 2, 2",
    "SELECT * FROM users WHERE created_at >= '2020-01-01 00:03:00' ORDER BY id LIMIT 1",
    "SELECT * FROM users WHERE id = '5'",
    "SELECT 1 AS a, 2 AS a",
    "SELECT id FROM users WHERE 1 = 0",
]
TABLE = """CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) NOT NULL,
  created_at DATETIME NOT NULL, score DOUBLE NOT NULL) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"""

Cursor = Any


@pytest.fixture(scope="module")
def cursors() -> Iterator[tuple[Cursor, Cursor]]:
    """Of MariaDB and of the emulator, over the same 500 users; values stay text."""
    url = urlsplit(require_mariadb())
    database = f"emulator_parity_{os.getpid()}"
    server = {"host": url.hostname, "port": url.port, "user": url.username, "password": url.password or ""}
    with emulator(rows=500) as running, pymysql.connect(**server, conv=dict(encoders)) as real:
        with real.cursor() as mariadb, running.connect(conv=dict(encoders)) as mine, mine.cursor() as cursor:
            mariadb.execute(f"CREATE DATABASE {database}")
            try:
                mariadb.execute(f"USE {database}")
                mariadb.execute(TABLE)
                cursor.execute("SELECT * FROM users")
                mariadb.executemany("INSERT INTO users VALUES (%s, %s, %s, %s, %s)", cursor.fetchall())
                mariadb.execute("SET NAMES utf8mb4 COLLATE utf8mb4_bin")
                yield mariadb, cursor
            finally:
                mariadb.execute(f"DROP DATABASE {database}")


def _answer(cursor: Cursor, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
    cursor.execute(sql)
    return [column[0] for column in cursor.description], list(cursor.fetchall())


def _expressions() -> list[str]:
    return [part.strip() for line in EXPRESSIONS.splitlines() for part in line.split(";") if part.strip()]


@pytest.mark.parametrize("expression", _expressions())
def test_an_expression_has_mysqls_value(cursors: tuple[Cursor, Cursor], expression: str) -> None:
    sql = f"SELECT {expression} FROM (SELECT * FROM users WHERE id <= 3) u ORDER BY id"
    mariadb, mine = cursors
    assert _answer(mine, sql) == _answer(mariadb, sql)


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_has_mysqls_rows(cursors: tuple[Cursor, Cursor], sql: str) -> None:
    mariadb, mine = cursors
    assert _answer(mine, sql) == _answer(mariadb, sql)
