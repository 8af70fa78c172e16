-- What legit_duckdb*.txt reads.

CREATE TABLE shopper (id INTEGER PRIMARY KEY, name VARCHAR, email VARCHAR, joined DATE, seen TIMESTAMP, credit DECIMAL(10, 2), score DOUBLE, tags JSON, boss_id INTEGER, level VARCHAR, langs VARCHAR[], active BOOLEAN, stars INTEGER, key BLOB, info STRUCT(city VARCHAR, zip INTEGER), attrs MAP(VARCHAR, INTEGER));
INSERT INTO shopper VALUES
 (1, 'Ann Lee', 'ann@example.com', '2023-01-15', '2024-02-29 10:11:12.345', 120.50, 1.5, '{"a": 1, "b": [1, 2, 3], "c": {"d": "x"}, "n": null}', NULL, 'high', ['de', 'en'], true, 3, '\x00\x01', {'city': 'Bern', 'zip': 3000}, MAP {'k': 1, 'm': 2}),
 (2, 'Bob Ray', NULL, '2023-05-01', '2024-01-01 00:00:00', 0.00, -2.25, '{"a": "two", "b": []}', 1, 'low', [], false, 0, '\xFF', {'city': 'Rome', 'zip': NULL}, MAP {}),
 (3, 'Çelik Öz', 'c.oz@example.org', '2022-12-31', NULL, 99999.99, 1e10, '[10, 20, {"k": true}]', 1, 'mid', ['fr'], true, 5, NULL, NULL, NULL),
 (4, 'dan o''hara', 'DAN@EXAMPLE.COM', NULL, '2023-12-31 23:59:59.999', NULL, NULL, NULL, 2, 'mid', ['de', 'en', 'fr'], true, 2, 'abc', {'city': 'Oslo', 'zip': 150}, MAP {'k': 7}),
 (5, 'Eve_100%', 'eve@sub.example.net', '2024-02-29', '2024-02-29 00:00:00', -10.25, 0, '"text"', 2, NULL, NULL, NULL, NULL, '', {'city': NULL, 'zip': 1}, NULL);

CREATE TABLE visit (id INTEGER, shopper_id INTEGER, ts TIMESTAMP, minutes INTEGER, page VARCHAR, amount DECIMAL(8, 2));
INSERT INTO visit SELECT i, 1 + i % 6, TIMESTAMP '2024-01-01 08:00:00' + INTERVAL (i * 37) HOUR, i * 13 % 60, ['home', 'cart', 'help', 'pay'][1 + i % 4 * (i <> 57)::INTEGER], CASE WHEN i % 5 = 0 THEN NULL ELSE i * 7.25 END FROM range(1, 61) t(i);

CREATE TABLE edge (src INTEGER, dst INTEGER, cost INTEGER);
INSERT INTO edge VALUES (1, 2, 5), (2, 3, 1), (1, 3, 9), (3, 4, 2), (4, 1, 7);
CREATE TABLE sale (product VARCHAR, year INTEGER, quarter INTEGER, amount INTEGER);
INSERT INTO sale SELECT ['pen', 'ink', 'pad'][1 + i % 3], 2022 + i % 3, 1 + i % 4, i * 17 % 100 FROM range(1, 41) t(i);
CREATE TABLE quote (symbol VARCHAR, ts TIMESTAMP, price DOUBLE);
INSERT INTO quote VALUES ('a', '2024-01-01 00:00', 1.0), ('a', '2024-01-02 00:00', 1.5), ('b', '2024-01-01 12:00', 2.0);
CREATE TABLE trade (symbol VARCHAR, ts TIMESTAMP, amount INTEGER);
INSERT INTO trade VALUES ('a', '2024-01-01 18:00', 10), ('a', '2024-01-03 00:00', 20), ('b', '2024-01-02 00:00', 5), ('b', '2023-01-01 00:00', 9);
