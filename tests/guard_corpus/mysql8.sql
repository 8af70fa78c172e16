-- Statements of MySQL 8 that MariaDB does not know: they pass, and their text is kept in golden.json.
-- json arrows
SELECT js->'$.a.b', js->>'$.c', o.js -> '$[0]', `o`.`js`->>'$.x y' FROM odd o WHERE js->>'$.c' = 'x';
-- lateral
SELECT t.id, q.n FROM odd t, LATERAL (SELECT COUNT(*) AS n FROM odd x WHERE x.id < t.id) AS q;
-- lateral join
SELECT t.id, q.n FROM odd t LEFT JOIN LATERAL (SELECT COUNT(*) AS n FROM odd x WHERE x.id < t.id) AS q ON TRUE;
-- any_value and grouping
SELECT ANY_VALUE(id), GROUPING(year), COUNT(*) FROM odd GROUP BY year WITH ROLLUP;
-- column list of a derived table
SELECT q.a, q.b FROM (SELECT id, `order` FROM odd) AS q (a, b);
-- lag with a default
SELECT LAG(id, 1, 0) OVER (ORDER BY id), LEAD(id, 1, -1) OVER (ORDER BY id) FROM odd;
-- member of
SELECT 17 MEMBER OF ('[1, 17]'), id MEMBER OF (js) FROM odd;
-- regexp_like
SELECT REGEXP_LIKE(txt, '^a', 'i') FROM odd;
-- json_overlaps
SELECT JSON_OVERLAPS('[1]', '[1, 2]'), JSON_PRETTY('{}');
-- uuid
SELECT BIN_TO_UUID(bin), UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db') FROM odd;
-- first_value in a frame
SELECT FIRST_VALUE(id) OVER (PARTITION BY year ORDER BY id RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM odd;
-- full text
SELECT MATCH(txt) AGAINST ('test' IN BOOLEAN MODE) AS score FROM odd WHERE MATCH(txt) AGAINST ('back');
-- a column called offset
SELECT o.offset, o.`rank`, o.system FROM odd o;
