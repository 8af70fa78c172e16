-- headers
SELECT 1+1, count( * ), max(id)+1, (id), 'text', "id", id  +  2, -id, NULL, 1.50, 'it''s', id AS "the id" FROM t;
-- header of a derived table
SELECT * FROM (SELECT id*2, max( v ) FROM t GROUP BY id);
-- strings and operators
SELECT 'a' || 'b', v || '!', id == 1, id <> 2, id != 3, id IS NOT NULL, v LIKE 'A%', v GLOB 'a*', 7 % 3, 7 / 2, ~id, id << 2, id & 1, NOT id FROM t ORDER BY id;
-- backslash is a letter
SELECT 'a\b', 'c:\n', length('\');
-- dates
SELECT date('2024-01-31', '+1 month'), strftime('%Y', '2024-02-29'), julianday('2024-01-01'), datetime('2024-01-01 10:00:00');
-- windows
SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), row_number() OVER w, count(*) FILTER (WHERE id > 1) OVER (ORDER BY id) FROM t WINDOW w AS (PARTITION BY v ORDER BY id) ORDER BY id;
-- aggregates
SELECT v, count(*), total(id), group_concat(id, ';'), avg(id), sum(id) FILTER (WHERE id > 1) FROM t GROUP BY v HAVING count(*) > 0 ORDER BY 1;
-- WITH
WITH a AS (SELECT id FROM t), b (x) AS (SELECT id + 1 FROM a) SELECT a.id, b.x FROM a LEFT JOIN b ON b.x = a.id ORDER BY 1, 2;
-- recursive
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT i, i * i FROM n;
-- set operations
SELECT id FROM t UNION SELECT 99 EXCEPT SELECT 1 ORDER BY 1;
-- values
SELECT * FROM (VALUES (1, 'a'), (2, 'b'));
-- casts and case
SELECT CAST('12' AS INTEGER), CAST(id AS TEXT), CAST(1 AS REAL), typeof(id), CASE WHEN id = 1 THEN 'one' ELSE 'more' END, iif(id = 1, 'y', 'n'), coalesce(NULL, v) FROM t;
-- json
SELECT json_extract('{"a": [1, 2]}', '$.a[1]'), '{"a": 1}' -> '$.a', '{"a": "x"}' ->> 'a', json_array(1, 2);
-- limits
SELECT id FROM t ORDER BY id DESC LIMIT 2 OFFSET 1;
-- schema given
SELECT main.t.id, t.v FROM main.t;
-- is distinct from
SELECT id IS DISTINCT FROM 1, id IS NOT DISTINCT FROM 2 FROM t;
-- collation
SELECT v = 'A' COLLATE NOCASE FROM t ORDER BY v COLLATE NOCASE, id;
-- comments
SELECT id -- the id
, /* the value */ v FROM t;
