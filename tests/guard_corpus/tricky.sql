-- header: spaces and comments stay
SELECT 1+1, 2 +  3, 4/*four*/+5, count( * ), COUNT(*) FROM odd;
-- header: comment to the end of the line
SELECT 1 -- one
+ 2;
-- header: column names keep their case
SELECT ID, Id, iD, odd.ID, `ID`, `odd`.`Id` FROM odd;
-- header: parentheses and plus
SELECT (id), ((id)), ( id ), +id, + id, (1), +1, ('a'), ( 'a' ), -id, - id, -1, - 1, -(1), (id)+1, (1)+(2) FROM odd;
-- header: constants
SELECT NULL, null, TRUE, true, FALSE, 1.50, .5, 5., 1e3, 1E3, 1.5e-3, 0.10, 007, 18446744073709551615, 123456789012345678901234567890;
-- header: strings
SELECT 'abc', ' abc', '', "q", 'it''s', "say ""hi""", 'a' 'b', 'tab	tab', '\t', 'line\nline', '%', '\%', '\_', '\\', '\'', "'", '"', 'é', '😀', '\q';
-- header: expression with strings
SELECT 'a'='A', "a" LIKE 'A', CONCAT("x", 'y'), 'it''s' = "it's", 'a\\b' LIKE 'a\\\\b', UPPER('é');
-- header: subqueries, exists, in
SELECT (SELECT 1), (select max(id)  from odd), EXISTS(SELECT 1), exists (select * from odd where id > 9), id IN (1,2), id not in (select 1), id in(1) FROM odd;
-- header: longer than a name may be
SELECT 1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1 ;
-- header: longer than a name may be, outside ASCII
SELECT CONCAT('ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé', 1);
-- header: backticks in the text
SELECT `a``b` + 1, `Group Name`, `order`*2 FROM odd;
-- header: over several lines
SELECT id
  + 1,
  CASE
    WHEN id > 1 THEN 'x'
  END
FROM odd;
-- header: of a derived table
SELECT * FROM (SELECT id + 1, COUNT(*), 'x', max( id ) FROM odd GROUP BY id) q;
-- header: of a common table expression, used by name
WITH q AS (SELECT COUNT(*), id * 2 FROM odd GROUP BY id) SELECT `COUNT(*)`, `id * 2` + 1, q.* FROM q;
-- header: of a union is the first one's
SELECT id+1 FROM odd UNION SELECT id+2 FROM odd ORDER BY 1;
-- header: names in quotes
SELECT id AS 'the id', id "other", id AS `back`, id plain, COUNT(*) OVER () n, -id neg FROM odd;
-- having on an unnamed expression
SELECT `order`, COUNT(*) FROM odd GROUP BY `order` HAVING COUNT(*) > 0 ORDER BY COUNT(*), `order`;
-- stars
SELECT odd.*, o2.id, 1 FROM odd JOIN odd o2 ON o2.id = odd.id;
-- stars with a column
SELECT *, id + 1 FROM odd ORDER BY id;
-- odd names
SELECT `order`, `Group Name`, `select`, `date`, date, count, `öl`, öl, user, year, `価格`, 価格 FROM odd ORDER BY count;
-- names that are keywords elsewhere
SELECT o.date AS date, o.year AS year, o.user AS user, o.count AS count, 2 AS value, 3 AS type, 4 AS status, 5 AS name, 6 AS first, 7 AS last, 8 AS level, 9 AS text, 10 AS time, 11 AS timestamp, 12 AS day, 13 AS month, 14 AS language, 15 AS comment, 16 AS format, 17 AS data, 18 AS position, 19 AS action, 20 AS start, 21 AS end_ FROM odd o;
-- names after implicit AS
SELECT o.id date, o.id value, o.id type, o.id status, o.id name, o.id total, o.id label FROM odd o;
-- operators of logic
SELECT 1 || 0, 0 || 0, 1 && 0, 1 XOR 1, 1 XOR 0, NOT 1, !1, NOT 1 + 1, ! 1 + 1, NOT NULL, 1 AND NULL, 0 OR NULL, 1 OR 0 AND 0, NOT 1 = 0, NOT 0 IN (1);
-- precedence of comparison
SELECT 1 = 2 IS NULL, 1 = 1 = 1, 2 > 1 > 0, 1 < 2 = 1, 3 = 3 IN (1, 0), 5 BETWEEN 1 AND 3 = 0, 1 IS NOT NULL = 5, NULL IS NULL IS TRUE, 1 + 1 BETWEEN 1 AND 3 AND 0, -1 IN (-1), 2 NOT BETWEEN 1 AND 3 OR 1;
-- precedence of bits
SELECT 1 | 2 & 3, 1 ^ 2 * 3, 2 * 3 ^ 1, -2 ^ 1, 1 << 2 + 1, 8 >> 1 & 3, 7 & 3 << 1, ~0 & 255, ~1 | 1, 5 - 3 - 1, 2 * 7 DIV 3 * 2, 100 DIV 7 MOD 4, 10 / 4 DIV 1;
-- arithmetic
SELECT 7 DIV 2, 7 / 2, 7 MOD 3, MOD(7, 3), MOD (7, 3), 7 % 3, -7 DIV 2, -7 % 3, 7.5 MOD 2, 1 / 0, 5 DIV 0, 0.1 + 0.2, 1e0 / 3, 9223372036854775807 + 0, 2 - -1, 2 - - 1, - - 1, 3 MOD (2);
-- null-safe and truth
SELECT NULL <=> NULL, 1 <=> NULL, id <=> 1, `order` IS NULL, `order` IS NOT NULL, 1 IS TRUE, 0 IS NOT TRUE, NULL IS UNKNOWN, NULL IS NOT UNKNOWN, 1 IS FALSE, 0 IS NOT FALSE, ISNULL(NULL), id != 1, id <> 1 FROM odd;
-- like
SELECT txt LIKE '%\_done\_', txt LIKE '100\%%', txt LIKE '%|_done|_' ESCAPE '|', txt NOT LIKE '%test%', 'a' LIKE 'A', 'a' LIKE BINARY 'A', txt LIKE CONCAT('%', 'Ü', '%') FROM odd ORDER BY id;
-- regular expressions
SELECT txt REGEXP '^it', txt RLIKE 'back$', txt NOT REGEXP '[0-9]', txt REGEXP '\\\\', REGEXP_REPLACE(txt, '[aeiou]', '_'), REGEXP_SUBSTR(txt, '[0-9]+'), REGEXP_INSTR(txt, '%') FROM odd ORDER BY id;
-- strings with signs of SQL in them
SELECT 'a;b', 'SELECT * INTO OUTFILE', '-- not a comment', '/* nor this */', '# nor this', '@var @@version', '?', ':name', '{d}', 'x;y' = "x;y", '/*! no */', '0x41', 'information_schema.tables';
-- line ends in strings
SELECT 'one
two', LENGTH('one
two'), 'a\r\nb', HEX('a\0b'), HEX('\Z'), HEX('\b');
-- strings, joined
SELECT 'a' 'b' "c", LENGTH('a' 'b'), CONCAT('a' 'b', 'c');
-- collation and character sets
SELECT txt COLLATE utf8mb4_bin, 'a' COLLATE utf8mb4_general_ci = 'A', CONVERT(txt USING utf8mb4), HEX(CONVERT('é' USING latin1)), CAST(id AS CHAR CHARACTER SET utf8mb4), CHAR(77, 121 USING utf8mb4), CONVERT('ü' USING ascii) FROM odd ORDER BY txt COLLATE utf8mb4_bin;
-- binary operator
SELECT BINARY 'a' = 'A', BINARY txt, 'a' = BINARY 'A', BINARY id FROM odd;
-- casts
SELECT CAST('12' AS UNSIGNED), CAST('-12' AS SIGNED), CAST('12' AS SIGNED INTEGER), CAST(1.239 AS DECIMAL(10, 2)), CAST('2024-02-29' AS DATE), CAST('2024-02-29 01:02:03.456' AS DATETIME(3)), CAST('10:20:30.5' AS TIME(1)), CAST(65 AS CHAR), CAST('abcdef' AS CHAR(3)), CAST('a' AS BINARY(3)), CAST('a' AS BINARY), CAST(1 AS DOUBLE), CAST(2 AS FLOAT);
-- conversion
SELECT CONVERT('12', UNSIGNED), CONVERT(1.5, DECIMAL(3,1)), CONVERT('2024-02-29', DATE), CONVERT('abc', CHAR(2)), CONVERT('1', SIGNED);
-- intervals
SELECT DATE '2024-01-31' + INTERVAL 1 MONTH, '2024-01-31' + INTERVAL '1-1' YEAR_MONTH, DATE_ADD('2024-01-31', INTERVAL -1 DAY), DATE_SUB('2024-01-31', INTERVAL 1 QUARTER), INTERVAL 1 DAY + DATE '2024-01-01', '2024-01-01 00:00:00' - INTERVAL '1:30' MINUTE_SECOND, ADDDATE('2024-01-01', 31), SUBDATE('2024-01-01', INTERVAL 1 WEEK), DATE_ADD('2024-01-01', INTERVAL (1 + 1) DAY), DATE_ADD('2024-01-01', INTERVAL id * 2 HOUR), d + INTERVAL 1 DAY next_day FROM (SELECT id, `date` d FROM odd) q;
-- literals of time
SELECT DATE '2024-02-29', DATE'2024-02-29', TIME '10:11:12', TIME'10:11:12.5', TIMESTAMP '2024-02-29 10:11:12', TIMESTAMP'2024-02-29 10:11:12.123456', date "2024-02-29";
-- functions of time
SELECT EXTRACT(YEAR FROM ts), EXTRACT(DAY_MICROSECOND FROM ts), YEAR(ts), MONTH(ts), DAY(ts), DAYOFWEEK(ts), WEEKDAY(ts), DAYOFYEAR(ts), WEEK(ts), WEEK(ts, 3), YEARWEEK(ts), QUARTER(ts), HOUR(ts), MINUTE(ts), SECOND(ts), MICROSECOND(ts), DATE(ts), TIME(ts), LAST_DAY(ts), TO_DAYS(ts), FROM_DAYS(738000), MONTHNAME(ts), DAYNAME(ts) FROM odd ORDER BY id;
-- functions of time with formats
SELECT DATE_FORMAT(ts, '%Y-%m-%d %H:%i:%s.%f %W %M %e %j %%'), STR_TO_DATE('29.02.2024', '%d.%m.%Y'), STR_TO_DATE('10:20', '%H:%i'), TIME_FORMAT(t, '%H %i'), GET_FORMAT(DATE, 'EUR'), FROM_UNIXTIME(0) IS NOT NULL, UNIX_TIMESTAMP(ts) > 0, TIMESTAMPDIFF(MONTH, '2024-01-31', ts), TIMESTAMPDIFF(minute, '2024-01-31', ts), TIMESTAMPADD(WEEK, 1, ts), TIMEDIFF('10:00', '09:00'), PERIOD_DIFF(202402, 202401), MAKEDATE(2024, 60), MAKETIME(1, 2, 3), SEC_TO_TIME(3661), TIME_TO_SEC('01:01:01'), CONVERT_TZ('2024-01-01', '+00:00', '+02:00'), ADDTIME('01:00:00', '00:30:00') FROM odd ORDER BY id;
-- functions of now
SELECT CURRENT_DATE = CURDATE(), CURRENT_DATE() = DATE(NOW()), CURRENT_TIMESTAMP = NOW(), CURRENT_TIMESTAMP() = LOCALTIMESTAMP, CURRENT_TIMESTAMP(3) IS NOT NULL, UTC_DATE IS NULL, UTC_TIMESTAMP() IS NULL, UTC_TIME IS NULL, CURRENT_TIME IS NULL, LOCALTIME = NOW(), SYSDATE() IS NULL;
-- functions of text
SELECT SUBSTRING('abcdef', 2, 3), SUBSTRING('abcdef' FROM 2), SUBSTRING('abcdef' FROM 2 FOR 3), SUBSTR('abcdef', -2), MID('abcdef', 2, 2), POSITION('c' IN 'abc'), LOCATE('c', 'abc', 1), INSTR('abc', 'c'), TRIM('  a '), TRIM(LEADING 'x' FROM 'xxa'), TRIM(TRAILING 'x' FROM 'axx'), TRIM(BOTH FROM ' a '), TRIM('x' FROM 'xax'), LTRIM(' a'), RTRIM('a '), LEFT('abc', 2), RIGHT('abc', 2), LPAD('5', 3, '0'), RPAD('5', 3, '0'), REPEAT('ab', 3), SPACE(2), STRCMP('a', 'b'), SOUNDEX('Robert'), FORMAT(1234567.891, 2), CHAR(65, 66), ASCII('A'), ORD('é'), HEX(255), UNHEX('4D79'), MD5('a'), SHA2('a', 256), TO_BASE64('abc'), QUOTE('it''s'), ELT(2, 'a', 'b'), FIELD('b', 'a', 'b'), MAKE_SET(3, 'a', 'b'), CONCAT_WS('-', 'a', NULL, 'b'), SUBSTRING_INDEX('a.b.c', '.', -1), INSERT('abc', 2, 1, 'XX'), CONV('ff', 16, 10), BIN(5), OCT(8), CRC32('a');
-- sounds like
SELECT 'Robert' SOUNDS LIKE 'Rupert', 'a' SOUNDS LIKE 'z';
-- functions of numbers
SELECT ABS(-1), CEIL(1.2), CEILING(1.2), FLOOR(-1.2), ROUND(1.255, 2), ROUND(1.5), TRUNCATE(1.999, 1), SIGN(-3), SQRT(16), POW(2, 10), POWER(2, 0.5), EXP(1), LN(2), LOG(2, 8), LOG(10), LOG2(8), LOG10(1000), PI(), SIN(1), COS(1), TAN(1), COT(1), ATAN(1, 2), ATAN2(1, 2), DEGREES(PI()), RADIANS(180), GREATEST(1, 2, 3), LEAST('b', 'a'), COALESCE(NULL, 1), NULLIF(1, 1), IFNULL(NULL, 'x'), IF(1 > 0, 'y', 'n'), RAND(3), BIT_COUNT(7);
-- row values
SELECT (1, 2) = (1, 2), ROW(1, 2) = ROW(1, 3), (id, `order`) <> (1, 10), (1, 2) IN ((1, 2), (3, 4)), (id, 10) IN (SELECT id, `order` FROM odd), (1, 2) < (1, 3) FROM odd;
-- quantified comparison
SELECT id FROM odd WHERE id = SOME (SELECT 1 UNION SELECT 2) AND id <> ALL (SELECT 5) AND id >= ANY (SELECT 1);
-- json
SELECT JSON_EXTRACT(js, '$.a.b[1]'), JSON_UNQUOTE(JSON_EXTRACT(js, '$.c')), JSON_VALUE(js, '$.c'), JSON_LENGTH(js), JSON_TYPE(js), JSON_KEYS(js), JSON_CONTAINS(js, '2', '$.a.b'), JSON_OBJECT('k', id, 'l', JSON_ARRAY(1, 'x')), JSON_VALID(js), JSON_QUOTE('a"b'), JSON_SEARCH(js, 'one', 'x'), JSON_SET(js, '$.z', 1), JSON_DEPTH(js), JSON_QUERY(js, '$.a') FROM odd ORDER BY id;
-- json aggregates
SELECT JSON_ARRAYAGG(id), JSON_OBJECTAGG(id, `order`), JSON_ARRAYAGG(id ORDER BY id DESC) FROM odd;
-- json table
SELECT o.id, j.n, j.v FROM odd o, JSON_TABLE(o.js, '$.a.b[*]' COLUMNS (n FOR ORDINALITY, v INT PATH '$')) AS j ORDER BY 1, 2;
-- group_concat
SELECT GROUP_CONCAT(id), GROUP_CONCAT(DISTINCT `Group Name` ORDER BY `Group Name` DESC SEPARATOR ';'), GROUP_CONCAT(id, ':', `order` ORDER BY id SEPARATOR '\n'), GROUP_CONCAT(id ORDER BY id DESC, `order` ASC SEPARATOR ''), GROUP_CONCAT(`Group Name` SEPARATOR ', ') FROM odd;
-- aggregates
SELECT COUNT(*), COUNT(ALL id), COUNT(DISTINCT `order`, id), SUM(DISTINCT id), AVG(`order`), STD(id), STDDEV_SAMP(id), VAR_POP(id), VARIANCE(id), BIT_AND(id), BIT_OR(id), BIT_XOR(id), MIN(txt), MAX(flt) FROM odd WHERE 1 = 0 OR id < 9 AND 1 = 1 HAVING COUNT(*) > 0;
-- percentiles
SELECT DISTINCT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY id) OVER (PARTITION BY year), MEDIAN(id) OVER (PARTITION BY `year`) FROM odd;
-- window frames
SELECT id, SUM(id) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS a, SUM(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) b, SUM(id) OVER (ORDER BY id RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) c, COUNT(*) OVER (PARTITION BY year ORDER BY id DESC) d, SUM(id) OVER () e FROM odd ORDER BY id;
-- named windows
SELECT id, RANK() OVER w, SUM(id) OVER w2, NTH_VALUE(id, 2) OVER w FROM odd WINDOW w AS (ORDER BY year), w2 AS (PARTITION BY year) ORDER BY id;
-- limits
SELECT id FROM odd ORDER BY id LIMIT 1, 2;
-- limit with offset
SELECT id FROM odd ORDER BY id DESC LIMIT 2 OFFSET 1;
-- fetch
SELECT id FROM odd ORDER BY id OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY;
-- limit nothing
SELECT id FROM odd LIMIT 0;
-- order
SELECT id FROM odd ORDER BY `order` IS NULL, `order` DESC, id + 0 ASC, RAND(1), FIELD(id, 3, 1);
-- distinct
SELECT DISTINCT year, `Group Name` FROM odd ORDER BY 1, 2;
-- all
SELECT ALL id FROM odd;
-- set operations
(SELECT id FROM odd WHERE id < 3 ORDER BY id LIMIT 1) UNION ALL (SELECT `order` FROM odd ORDER BY 1 DESC LIMIT 1) UNION SELECT 99 ORDER BY 1;
-- except all and intersect all
SELECT year FROM odd EXCEPT ALL SELECT 2024 INTERSECT ALL SELECT 2024;
-- nested set operations
SELECT * FROM ((SELECT 1 AS a UNION SELECT 2) UNION ALL (SELECT 3 UNION ALL SELECT 3)) q WHERE a > 1;
-- a union in parentheses
((SELECT 1 UNION SELECT 2));
-- values as a table
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v;
-- dual
SELECT 1 FROM DUAL WHERE 1 = 1;
-- dual in lower case
select 1 + 1 from dual;
-- no table
SELECT 1 WHERE 1 = 0;
-- joins
SELECT a.id, b.id, c.id FROM odd a LEFT JOIN odd b ON a.id = b.`order` / 10 RIGHT OUTER JOIN odd c ON c.id = a.id INNER JOIN (odd d CROSS JOIN odd e) ON d.id = c.id AND e.id = c.id;
-- joins, natural
SELECT id FROM odd NATURAL LEFT JOIN (SELECT id, 1 AS one FROM odd) q;
-- joins, comma and parentheses
SELECT COUNT(*) FROM (odd a, odd b) LEFT JOIN odd c ON a.id = c.id;
-- joins without a condition
SELECT COUNT(*) FROM odd a JOIN odd b JOIN odd c WHERE a.id = b.id AND b.id = c.id;
-- joins, condition after two tables
SELECT COUNT(*) FROM odd a LEFT JOIN odd b JOIN odd c ON b.id = c.id ON a.id = b.id;
-- straight join
SELECT COUNT(*) FROM odd a STRAIGHT_JOIN odd b ON a.id = b.id;
-- correlated subqueries
SELECT id, (SELECT COUNT(*) FROM odd i WHERE i.id <= o.id) AS place FROM odd o WHERE EXISTS (SELECT 1 FROM odd x WHERE x.id = o.id AND x.`order` > (SELECT AVG(`order`) - 100 FROM odd));
-- WITH inside
SELECT * FROM (WITH a AS (SELECT id FROM odd) SELECT a.id, b.id AS b FROM a, a b WHERE a.id = b.id) q;
-- WITH, several and one over another
WITH a AS (SELECT 1 AS n), b AS (SELECT n + 1 AS n FROM a), odd AS (SELECT n FROM b) SELECT odd.n, a.n FROM odd, a;
-- WITH, the same name inside
WITH odd AS (SELECT id FROM odd WHERE id < 3) SELECT * FROM odd;
-- WITH, in a subquery of the WHERE
SELECT id FROM odd WHERE id IN (WITH m AS (SELECT MAX(id) i FROM odd) SELECT i FROM m);
-- recursive
WITH RECURSIVE seq (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < 20) SELECT n, n * n FROM seq;
-- recursive tree
WITH RECURSIVE t AS (SELECT id, CAST(id AS CHAR(50)) AS path FROM odd WHERE id = 1 UNION ALL SELECT o.id, CONCAT(t.path, '/', o.id) FROM odd o JOIN t ON o.id = t.id + 1) SELECT id, path FROM t;
-- with rollup
SELECT year, `Group Name`, COUNT(*), SUM(id) FROM odd GROUP BY year, `Group Name` WITH ROLLUP;
-- group by expression and position
SELECT id % 2, COUNT(*) FROM odd GROUP BY id % 2 ORDER BY id % 2;
-- group by alias
SELECT YEAR(`date`) AS y, COUNT(*) FROM odd GROUP BY y ORDER BY y DESC;
-- case
SELECT CASE id WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END, CASE WHEN id = 1 THEN NULL ELSE -id END, CASE WHEN `order` IS NULL THEN 0 WHEN `order` > 15 AND NOT `order` > 25 THEN 1 ELSE 2 END + 1 FROM odd;
-- values of every column
SELECT * FROM odd ORDER BY id;
-- time, bits, floats
SELECT t, t + 0, b, b + 0, bin, HEX(bin), `select`, flt, dec1, dec1 * 2, `count` + 0, ts FROM odd ORDER BY id;
-- division and exact numbers
SELECT 1 / 3, 2 / 3 * 3, 1.0 / 3, 0.1e0 + 0.2e0, 10 / 2, 7.0 DIV 2, 1.000, 1.10 + 1.2, 12345678901234567890123.5 * 2, -0.0, 00.10;
-- comparisons of types
SELECT '10' = 10, 'abc' = 0, '1e1' = 10, NULL = NULL, '2024-01-01' < DATE '2024-01-02', 1 = '1 ', BINARY 'a' = 'a ';
-- spaces everywhere
	SELECT   id   ,   COUNT( * )   FROM   odd   GROUP   BY   id   ;
-- no spaces
SELECT(id),COUNT(*)FROM`odd`WHERE(id)IN(1,2)GROUP/**/BY(id)HAVING(1)ORDER BY(id);
-- a comment in the place of a space
SELECT/**/id/**/FROM/**/odd/**/UNION/**/SELECT/**/1;
-- a trailing semicolon and comment
SELECT 1; -- done
-- a trailing comment
SELECT 2 # done
-- schema given
SELECT s.id, `odd`.`id` FROM SCHEMA_NAME.odd s JOIN odd ON odd.id = s.id;
-- schema given, columns too
SELECT SCHEMA_NAME.odd.id, `SCHEMA_NAME` . odd . `order` FROM SCHEMA_NAME.odd;
-- match is an ordinary name
SELECT o.id `match`, 1 AS `from` FROM odd AS o;
-- interval as a function and as an operator
SELECT DATE_ADD(ts, INTERVAL '1 1:1:1' DAY_SECOND), ts - INTERVAL 500000 MICROSECOND FROM odd;
-- network addresses
SELECT INET_NTOA(3232235777), INET_ATON('192.168.1.1'), HEX(INET6_ATON('::1')), IS_IPV4('1.2.3.4');
-- geometry
SELECT ST_ASTEXT(ST_GEOMFROMTEXT('POINT(1 2)')), ST_X(ST_GEOMFROMTEXT('POINT(1 2)'));
-- soundness of MOD as a word between names
SELECT id MOD 2, id mod (2), (id) MOD (2), mod(id, 2) FROM odd WHERE id MOD 2 = 1;
-- greatest of a subquery in a function
SELECT GREATEST((SELECT MAX(id) FROM odd), 3), IFNULL((SELECT id FROM odd WHERE id > 10), 'none');
-- deeply nested but reasonable
SELECT ((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))));
-- long IN list
SELECT id FROM odd WHERE id IN (1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40);
