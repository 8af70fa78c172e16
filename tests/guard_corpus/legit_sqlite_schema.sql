-- What legit_sqlite*.txt reads.

CREATE TABLE shopper (id INTEGER PRIMARY KEY, name TEXT, email TEXT COLLATE NOCASE, joined TEXT, credit REAL, tags TEXT, boss_id INT, level TEXT, active INT, stars INT, key BLOB);
CREATE INDEX by_name ON shopper (name);
CREATE INDEX by_level ON shopper (level, stars);
INSERT INTO shopper VALUES
 (1, 'Ann Lee', 'ann@example.com', '2023-01-15', 120.5, '{"a": 1, "b": [1, 2, 3], "c": {"d": "x"}, "n": null}', NULL, 'high', 1, 3, x'00000001'),
 (2, 'Bob Ray', NULL, '2023-05-01', 0.0, '{"a": "two", "b": []}', 1, 'low', 0, 0, x'000000FF'),
 (3, 'Çelik Öz', 'c.oz@example.org', '2022-12-31', 99999.99, '[10, 20, {"k": true}]', 1, 'mid', 1, 5, x''),
 (4, 'dan o''hara', 'DAN@EXAMPLE.COM', NULL, NULL, NULL, 2, 'mid', 1, 2, NULL),
 (5, 'Eve_100%', 'eve@sub.example.net', '2024-02-29', -10.25, '"text"', 2, NULL, NULL, NULL, x'616263');

CREATE TABLE visit (id INTEGER PRIMARY KEY, shopper_id INT, at TEXT, minutes INT, page TEXT, amount REAL);
CREATE INDEX by_shopper ON visit (shopper_id);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO visit SELECT i, 1 + i % 6, datetime('2024-01-01 08:00:00', (i * 37) || ' hours'), i * 13 % 60, CASE i % 4 WHEN 0 THEN 'home' WHEN 1 THEN 'cart' WHEN 2 THEN 'help' ELSE 'pay' END, CASE WHEN i % 5 = 0 THEN NULL ELSE i * 7.25 END FROM n;

CREATE TABLE edge (src INT, dst INT, cost INT, PRIMARY KEY (src, dst)) WITHOUT ROWID;
INSERT INTO edge VALUES (1, 2, 5), (2, 3, 1), (1, 3, 9), (3, 4, 2), (4, 1, 7);

CREATE TABLE odd ("order" INT, "group name" TEXT, "select" REAL, "a`b" INT, "öl" TEXT, [from] TEXT, "x""y" INT);
INSERT INTO odd VALUES (1, 'g one', 1.5, 7, 'straße', 'here', 2), (2, NULL, -0.0, NULL, NULL, '', 3);

CREATE VIRTUAL TABLE post USING fts5 (title, body);
INSERT INTO post VALUES ('first', 'the quick brown fox'), ('second', 'a lazy dog and a fox'), ('third', 'nothing here');
CREATE VIRTUAL TABLE mail USING fts4 (subject, body);
INSERT INTO mail VALUES ('hello', 'the quick brown fox'), ('bye', 'lazy dogs sleep');
CREATE VIRTUAL TABLE box USING rtree (id, minx, maxx, miny, maxy);
INSERT INTO box VALUES (1, 0, 2, 0, 2), (2, 1, 5, 1, 5), (3, 8, 9, 8, 9);
CREATE VIEW busy AS SELECT page, count(*) AS n FROM visit GROUP BY page;
