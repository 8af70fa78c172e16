-- headers
SELECT 1+1, count( * ), max(id)+1, (max(id)), 'text', -max(id), NULL, 1.50, 'it''s', SUM(t.id), Max(id) AS "the max" FROM t;
-- column names keep their case
SELECT Id, ID, t.id, v AS "V", "v" FROM t;
-- strings and operators
SELECT 'a' || 'b', v || '!', id <> 2, id != 3, id IS NOT NULL, v LIKE 'A%', v ILIKE 'A%', v SIMILAR TO 'a.*', 7 % 3, 7 // 2, 7 / 2, id << 2, id & 1, NOT id > 1, id::VARCHAR, '1'::INTEGER + 1 FROM t ORDER BY id;
-- backslash is a letter
SELECT 'a\b', 'c:\n', length('\');
-- dates
SELECT DATE '2024-01-31' + INTERVAL 1 MONTH, INTERVAL '2 days' + TIMESTAMP '2024-01-01 00:00:00', date_trunc('month', DATE '2024-02-29'), extract(year FROM DATE '2024-02-29'), strftime(DATE '2024-02-29', '%Y'), date_diff('day', DATE '2024-01-01', DATE '2024-02-01'), year(DATE '2024-01-01');
-- windows
SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), row_number() OVER w, lag(id, 1, 0) OVER (ORDER BY id) FROM t WINDOW w AS (PARTITION BY v ORDER BY id) ORDER BY id;
-- qualify
SELECT id, v FROM t QUALIFY row_number() OVER (PARTITION BY v ORDER BY id) = 1 ORDER BY id;
-- aggregates
SELECT v, count(*), string_agg(id::VARCHAR, ';' ORDER BY id), avg(id), sum(id) FILTER (WHERE id > 1), median(id), quantile_cont(id, 0.5), count(DISTINCT id), list(id ORDER BY id) FROM t GROUP BY v HAVING count(*) > 0 ORDER BY v NULLS LAST;
-- grouping sets
SELECT v, id, count(*) FROM t GROUP BY ROLLUP (v, id) ORDER BY ALL;
-- grouping sets, cube
SELECT v, count(*) FROM t GROUP BY CUBE (v) ORDER BY 1 NULLS FIRST;
-- WITH
WITH a AS (SELECT id FROM t), b (x) AS (SELECT id + 1 FROM a) SELECT a.id, b.x FROM a LEFT JOIN b ON b.x = a.id ORDER BY 1, 2;
-- recursive
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT i, i * i FROM n;
-- set operations
SELECT id FROM t UNION SELECT 99 EXCEPT SELECT 1 ORDER BY 1;
-- values
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) q (n, s);
-- casts and case
SELECT CAST('12' AS INTEGER), CAST(id AS VARCHAR), TRY_CAST('x' AS INTEGER), CAST(1 AS DECIMAL(10, 2)), typeof(id), CASE WHEN id = 1 THEN 'one' ELSE 'more' END, if(id = 1, 'y', 'n'), coalesce(NULL, v) FROM t ORDER BY id;
-- lists
SELECT [1, 2, 3], [1, 2][1], len([1, 2]), list_contains([1, 2], 2);
-- limits
SELECT id FROM t ORDER BY id DESC LIMIT 2 OFFSET 1;
-- schema given
SELECT main.t.id, t.v FROM main.t ORDER BY 1;
-- is distinct from
SELECT id IS DISTINCT FROM 1, id IS NOT DISTINCT FROM 2 FROM t ORDER BY id;
-- position, substring, trim
SELECT position('b' IN 'abc'), substring('abcdef' FROM 2 FOR 3), substring('abc', 2), trim(BOTH 'x' FROM 'xax'), left('abc', 2), lpad('5', 3, '0'), repeat('ab', 3), replace('abc', 'b', 'x'), regexp_replace('abc', 'b', 'x'), split_part('a-b', '-', 2);
-- between, in, exists
SELECT id FROM t WHERE id BETWEEN 1 AND 2 AND id IN (SELECT id FROM t) AND EXISTS (SELECT 1) AND (id, v) IN ((1, 'a')) ORDER BY id;
-- comments
SELECT id -- the id
, /* the value */ v FROM t ORDER BY id;
-- keywords as names
SELECT id AS date, v AS timestamp, 1 AS "group" FROM t ORDER BY id;
-- star without a column
SELECT * EXCLUDE (v) FROM t ORDER BY id;
