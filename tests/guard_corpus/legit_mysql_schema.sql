-- What legit_mysql.txt reads, besides the tables of schema.sql.

CREATE TABLE shopper (id INT PRIMARY KEY, name VARCHAR(40), email VARCHAR(80), joined DATE, seen DATETIME(3), credit DECIMAL(10, 2), score DOUBLE, tags LONGTEXT CHECK (JSON_VALID(tags)), boss_id INT, level ENUM('low', 'mid', 'high'), langs SET('de', 'en', 'fr'), active TINYINT(1), stars INT UNSIGNED, note TEXT, KEY by_name (name), KEY by_joined (joined), KEY by_boss (boss_id, level), FULLTEXT words (name, note), FULLTEXT notes (note));
INSERT INTO shopper VALUES
 (1, 'Ann Lee', 'ann@example.com', '2023-01-15', '2024-02-29 10:11:12.345', 120.50, 1.5, '{"a": 1, "b": [1, 2, 3], "c": {"d": "x"}, "n": null}', NULL, 'high', 'de,en', 1, 3, 'quick brown fox'),
 (2, 'Bob Ray', NULL, '2023-05-01', '2024-01-01 00:00:00', 0.00, -2.25, '{"a": "two", "b": []}', 1, 'low', '', 0, 0, 'lazy dog sleeps'),
 (3, 'Çelik Öz', 'c.oz@example.org', '2022-12-31', NULL, 99999.99, 1e10, '[10, 20, {"k": true}]', 1, 'mid', 'fr', 1, 5, 'the fox is quick'),
 (4, 'dan o''hara', 'DAN@EXAMPLE.COM', NULL, '2023-12-31 23:59:59.999', NULL, NULL, NULL, 2, 'mid', 'de,en,fr', 1, 2, NULL),
 (5, 'Eve_100%', 'eve@sub.example.net', '2024-02-29', '2024-02-29 00:00:00', -10.25, 0, '"text"', 2, NULL, NULL, NULL, NULL, 'database exports');

CREATE TABLE visit (id INT PRIMARY KEY, shopper_id INT, at DATETIME, minutes INT, page VARCHAR(30), amount DECIMAL(8, 2), KEY by_shopper (shopper_id));
INSERT INTO visit SELECT seq, 1 + seq % 6, '2024-01-01 08:00:00' + INTERVAL seq * 37 HOUR, seq * 13 % 60, ELT(1 + seq % 4, 'home', 'cart', 'help', 'pay'), IF(seq % 5 = 0, NULL, seq * 7.25 % 90) FROM seq_1_to_60;

CREATE TABLE place (id INT PRIMARY KEY, title VARCHAR(20), pos POINT NOT NULL, path LINESTRING, zone POLYGON);
INSERT INTO place VALUES
 (1, 'north', ST_GeomFromText('POINT(1 9)'), ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)'), ST_GeomFromText('POLYGON((0 0, 0 4, 4 4, 4 0, 0 0))')),
 (2, 'south', ST_GeomFromText('POINT(2 -3)'), ST_GeomFromText('LINESTRING(0 0, 3 4)'), ST_GeomFromText('POLYGON((2 2, 2 6, 6 6, 6 2, 2 2))'));

CREATE TABLE price (sku VARCHAR(10) PRIMARY KEY, amount DECIMAL(8, 2)) WITH SYSTEM VERSIONING;
INSERT INTO price VALUES ('a', 1.10), ('b', 2.20);
UPDATE price SET amount = 3.30 WHERE sku = 'b';

CREATE TABLE device (id BINARY(4) PRIMARY KEY, ip INET6, ip4 INET4, uid UUID, flags BIT(8), dyn BLOB, raw VARBINARY(20));
INSERT INTO device VALUES
 (x'00000001', '::1', '10.0.0.1', '123e4567-e89b-12d3-a456-426614174000', b'00000101', COLUMN_CREATE('color', 'red', 'size', 7), 'abc'),
 (x'000000ff', '2001:db8::ff', '192.168.1.20', '00000000-0000-0000-0000-000000000001', b'11110000', COLUMN_CREATE('size', 12), x'00ff');

CREATE TABLE sale (yr INT, region VARCHAR(10), product VARCHAR(10), amount INT) PARTITION BY RANGE (yr) (PARTITION p0 VALUES LESS THAN (2023), PARTITION p1 VALUES LESS THAN (2024), PARTITION p2 VALUES LESS THAN MAXVALUE);
INSERT INTO sale SELECT 2022 + seq % 3, ELT(1 + seq % 3, 'east', 'west', NULL), ELT(1 + seq % 4, 'pen', 'ink', 'pad', 'cap'), seq * 17 % 100 FROM seq_1_to_40;

CREATE TABLE `odd #1 (a+b)` (a INT);
INSERT INTO `odd #1 (a+b)` VALUES (1), (2);
CREATE TABLE innodb_notes (a INT);
INSERT INTO innodb_notes VALUES (2), (3);
