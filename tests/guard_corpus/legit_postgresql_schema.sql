-- What legit_postgresql_*.txt reads.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE address AS (street text, city text, zip text);
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);

CREATE TABLE shopper (id int PRIMARY KEY, name text, email text, joined date, seen timestamptz, credit numeric(10, 2), score float8, tags jsonb, attrs json, boss_id int, level mood, langs text[], active boolean, stars int, home address, discount percent, uid uuid, ip inet, code bytea, stay tsrange, born time, wait interval, note text);
INSERT INTO shopper VALUES
 (1, 'Ann Lee', 'ann@example.com', '2023-01-15', '2024-02-29 10:11:12.345+00', 120.50, 1.5, '{"a": 1, "b": [1, 2, 3], "c": {"d": "x"}, "n": null}', '{"k": [1, {"z": true}]}', NULL, 'happy', '{de,en}', true, 3, ROW('Main St 1', 'Oslo', '0150'), 10.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '192.168.1.5/24', '\x00ff', '[2024-01-01, 2024-01-05)', '08:30', '1 day 2 hours', 'quick brown fox'),
 (2, 'Bob Ray', NULL, '2023-05-01', '2024-01-01 00:00:00+00', 0.00, -2.25, '{"a": "two", "b": []}', '[]', 1, 'sad', '{}', false, 0, NULL, 0, NULL, '10.0.0.1', '', 'empty', '23:59:59.5', '-3 mons', 'lazy dogs sleep'),
 (3, 'Çelik Öz', 'c.oz@example.org', '2022-12-31', NULL, 99999.99, 'Infinity', '[10, 20, {"k": true}]', NULL, 1, 'ok', '{fr,NULL}', true, 5, ROW('Rue 2', NULL, '75001'), 100, NULL, '::1', 'abc', '[2024-03-01,)', NULL, NULL, 'the fox is quick'),
 (4, 'dan o''hara', 'DAN@EXAMPLE.COM', NULL, '2023-12-31 23:59:59.999+00', NULL, NULL, NULL, NULL, 2, 'ok', '{de,en,fr}', true, 2, NULL, NULL, NULL, NULL, NULL, NULL, '00:00', '90 min', NULL),
 (5, 'Eve_100%', 'eve@sub.example.net', '2024-02-29', '2024-02-29 00:00:00+00', -10.25, 'NaN', '"text"', '"s"', 2, NULL, NULL, NULL, NULL, NULL, 33.33, NULL, '2001:db8::/32', NULL, '(,2023-01-01]', '12:00', '0', 'database exports');

CREATE TABLE visit (id int PRIMARY KEY, shopper_id int, at timestamp, minutes int, page text, amount numeric(8, 2));
INSERT INTO visit SELECT n, 1 + n % 6, timestamp '2024-01-01 08:00' + n * interval '37 hours', n * 13 % 60, (ARRAY['home', 'cart', 'help', 'pay'])[1 + n % 4], CASE WHEN n % 5 <> 0 THEN (n * 7.25) % 90 END FROM generate_series(1, 60) n;
CREATE VIEW busy AS SELECT shopper_id, count(*) AS visits FROM visit GROUP BY shopper_id HAVING count(*) > 9;

CREATE TABLE post (id int, title text, body text, words tsvector GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || body)) STORED);
INSERT INTO post (id, title, body) VALUES (1, 'Fast foxes', 'The quick brown fox jumped over'), (2, 'Lazy dogs', 'A dog sleeps the whole day'), (3, 'Exports', 'Streaming rows into files quickly');

CREATE TABLE place (id int, spot point, area box, route path, ring circle, zone polygon);
INSERT INTO place VALUES (1, '(1,9)', '((0,0),(2,2))', '[(0,0),(1,1),(2,0)]', '<(1,1),3>', '((0,0),(0,4),(4,4),(4,0))'), (2, '(2,-3)', '((1,1),(4,5))', '((0,0),(3,4))', '<(0,0),1>', '((2,2),(2,6),(6,6))');

CREATE TABLE node (id int, parent int, title text);
INSERT INTO node VALUES (1, NULL, 'root'), (2, 1, 'left'), (3, 1, 'right'), (4, 2, 'leaf'), (5, 4, 'deep');

CREATE TABLE "Odd Names" ("Id" int, "order" int, "Group Name" text, "a""b" int, "öl" text, "date" date, value int, type text, name text, "select" int);
INSERT INTO "Odd Names" VALUES (1, 10, 'g one', 7, 'straße', '2024-02-29', 1, 't', 'n', 5), (2, NULL, NULL, NULL, 'ÖL', NULL, 2, 'u', 'm', NULL);
