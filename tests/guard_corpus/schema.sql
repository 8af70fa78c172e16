-- Small, deterministic tables after TPC-H, the Join Order Benchmark, ClickBench and Sakila, and one of odd names.

CREATE TABLE region (r_regionkey INT PRIMARY KEY, r_name CHAR(25), r_comment VARCHAR(152));
INSERT INTO region SELECT seq - 1, ELT(seq, 'AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'), 'r' FROM seq_1_to_5;

CREATE TABLE nation (n_nationkey INT PRIMARY KEY, n_name CHAR(25), n_regionkey INT, n_comment VARCHAR(152));
INSERT INTO nation SELECT seq - 1, ELT(seq, 'ALGERIA', 'ARGENTINA', 'BRAZIL', 'CANADA', 'EGYPT', 'ETHIOPIA', 'FRANCE', 'GERMANY', 'INDIA', 'INDONESIA', 'IRAN', 'IRAQ', 'JAPAN', 'JORDAN', 'KENYA', 'MOROCCO', 'MOZAMBIQUE', 'PERU', 'CHINA', 'ROMANIA', 'SAUDI ARABIA', 'VIETNAM', 'RUSSIA', 'UNITED KINGDOM', 'UNITED STATES'), ELT(seq, 0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1), 'n' FROM seq_1_to_25;

CREATE TABLE supplier (s_suppkey INT PRIMARY KEY, s_name CHAR(25), s_address VARCHAR(40), s_nationkey INT, s_phone CHAR(15), s_acctbal DECIMAL(15, 2), s_comment VARCHAR(101));
INSERT INTO supplier SELECT seq, CONCAT('Supplier#', LPAD(seq, 9, '0')), CONCAT('street ', seq), seq % 25, CONCAT(10 + seq % 25, '-555-', seq), seq * 97.31 - 900, IF(seq % 11 = 0, 'some Customer odd Complaints', 'fine') FROM seq_1_to_50;

CREATE TABLE customer (c_custkey INT PRIMARY KEY, c_name VARCHAR(25), c_address VARCHAR(40), c_nationkey INT, c_phone CHAR(15), c_acctbal DECIMAL(15, 2), c_mktsegment CHAR(10), c_comment VARCHAR(117));
INSERT INTO customer SELECT seq, CONCAT('Customer#', LPAD(seq, 9, '0')), CONCAT('road ', seq), seq * 7 % 25, CONCAT(10 + seq * 7 % 25, '-555-', seq), seq * 61.7 % 9999 - 500, ELT(1 + seq % 5, 'BUILDING', 'AUTOMOBILE', 'MACHINERY', 'HOUSEHOLD', 'FURNITURE'), 'c' FROM seq_1_to_120;

CREATE TABLE part (p_partkey INT PRIMARY KEY, p_name VARCHAR(55), p_mfgr CHAR(25), p_brand CHAR(10), p_type VARCHAR(25), p_size INT, p_container CHAR(10), p_retailprice DECIMAL(15, 2), p_comment VARCHAR(23));
INSERT INTO part SELECT seq, CONCAT(ELT(1 + seq % 4, 'green', 'forest', 'red', 'blue'), ' part ', seq), CONCAT('Manufacturer#', 1 + seq % 5), CONCAT('Brand#', 1 + seq % 5, 1 + seq % 3), CONCAT(ELT(1 + seq % 3, 'PROMO', 'ECONOMY', 'MEDIUM'), ' ', ELT(1 + seq % 2, 'ANODIZED', 'POLISHED'), ' ', ELT(1 + seq % 4, 'STEEL', 'BRASS', 'TIN', 'COPPER')), 1 + seq % 50, CONCAT(ELT(1 + seq % 4, 'SM', 'MED', 'LG', 'JUMBO'), ' ', ELT(1 + seq % 5, 'CASE', 'BOX', 'BAG', 'PACK', 'PKG')), 900 + seq, 'p' FROM seq_1_to_100;

CREATE TABLE partsupp (ps_partkey INT, ps_suppkey INT, ps_availqty INT, ps_supplycost DECIMAL(15, 2), ps_comment VARCHAR(199), PRIMARY KEY (ps_partkey, ps_suppkey));
INSERT INTO partsupp SELECT p.seq, 1 + (p.seq * 3 + i.seq * 12) % 50, p.seq * i.seq * 37 % 9999, p.seq * i.seq * 1.31 % 1000, 'ps' FROM seq_1_to_100 p, seq_1_to_4 i;

CREATE TABLE orders (o_orderkey INT PRIMARY KEY, o_custkey INT, o_orderstatus CHAR(1), o_totalprice DECIMAL(15, 2), o_orderdate DATE, o_orderpriority CHAR(15), o_clerk CHAR(15), o_shippriority INT, o_comment VARCHAR(79));
INSERT INTO orders SELECT seq, 1 + seq * 13 % 100, ELT(1 + seq % 3, 'F', 'O', 'P'), seq * 791.13 % 400000, DATE('1992-01-01') + INTERVAL (seq * 17 % 2400) DAY, ELT(1 + seq % 5, '1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'), CONCAT('Clerk#', seq % 20), 0, IF(seq % 7 = 0, 'special handling requests', 'o') FROM seq_1_to_500;

CREATE TABLE lineitem (l_orderkey INT, l_partkey INT, l_suppkey INT, l_linenumber INT, l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), l_returnflag CHAR(1), l_linestatus CHAR(1), l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct CHAR(25), l_shipmode CHAR(10), l_comment VARCHAR(44), PRIMARY KEY (l_orderkey, l_linenumber));
INSERT INTO lineitem SELECT o_orderkey, ps_partkey, ps_suppkey, n.seq, 1 + (o_orderkey * n.seq) % IF(o_orderkey % 10 = 0, 110, 50), o_orderkey * n.seq * 3.7 % 90000 + 100, (o_orderkey + n.seq) % 11 / 100, (o_orderkey + n.seq) % 9 / 100, ELT(1 + (o_orderkey + n.seq) % 3, 'A', 'N', 'R'), ELT(1 + o_orderkey % 2, 'F', 'O'), o_orderdate + INTERVAL (n.seq * 20) DAY, o_orderdate + INTERVAL (30 + o_orderkey % 40) DAY, o_orderdate + INTERVAL (n.seq * 20 + 10) DAY, ELT(1 + n.seq % 2, 'DELIVER IN PERSON', 'COLLECT COD'), ELT(1 + (o_orderkey + n.seq) % 7, 'AIR', 'MAIL', 'SHIP', 'TRUCK', 'RAIL', 'FOB', 'AIR REG'), 'l' FROM orders JOIN seq_1_to_4 n JOIN partsupp ON ps_partkey = 1 + (o_orderkey * 7 + n.seq) % 100 AND ps_suppkey = 1 + (ps_partkey * 3 + n.seq * 12) % 50;

CREATE TABLE title (id INT PRIMARY KEY, title VARCHAR(100), kind_id INT, production_year INT, episode_nr INT);
INSERT INTO title SELECT seq, CONCAT(ELT(1 + seq % 3, 'Champion ', 'Shrek ', 'Loser '), seq), 1 + seq % 3, 1970 + seq % 45, NULLIF(seq % 6, 0) FROM seq_1_to_300;
CREATE TABLE kind_type (id INT PRIMARY KEY, kind VARCHAR(15));
INSERT INTO kind_type VALUES (1, 'movie'), (2, 'tv series'), (3, 'episode');
CREATE TABLE company_name (id INT PRIMARY KEY, name VARCHAR(60), country_code VARCHAR(10));
INSERT INTO company_name SELECT seq, CONCAT(ELT(1 + seq % 3, 'Film Works ', 'Warner ', 'Lionsgate '), seq), ELT(1 + seq % 4, '[us]', '[de]', '[jp]', NULL) FROM seq_1_to_40;
CREATE TABLE movie_companies (id INT PRIMARY KEY, movie_id INT, company_id INT, company_type_id INT, note VARCHAR(80));
INSERT INTO movie_companies SELECT seq, 1 + seq * 7 % 300, 1 + seq % 40, 1 + seq % 2, ELT(1 + seq % 4, '(co-production)', '(as Metro-Goldwyn-Mayer Pictures)', '(presents) (USA)', NULL) FROM seq_1_to_600;
CREATE TABLE company_type (id INT PRIMARY KEY, kind VARCHAR(32));
INSERT INTO company_type VALUES (1, 'production companies'), (2, 'distributors');
CREATE TABLE info_type (id INT PRIMARY KEY, info VARCHAR(32));
INSERT INTO info_type VALUES (1, 'top 250 rank'), (2, 'bottom 10 rank'), (3, 'rating'), (4, 'release dates'), (5, 'genres');
CREATE TABLE movie_info (id INT PRIMARY KEY, movie_id INT, info_type_id INT, info VARCHAR(60), note VARCHAR(60));
INSERT INTO movie_info SELECT seq, 1 + seq % 300, 1 + seq % 5, IF(seq % 5 = 2, seq % 10, ELT(1 + seq % 4, 'Germany', 'Drama', 'USA: 2007', 'Horror')), ELT(1 + seq % 3, 'internet release', '(2006)', NULL) FROM seq_1_to_900;
CREATE TABLE name (id INT PRIMARY KEY, name VARCHAR(60), gender CHAR(1));
INSERT INTO name SELECT seq, CONCAT(CHAR(65 + seq % 26 USING utf8mb4), 'son, Tim ', seq), ELT(1 + seq % 3, 'm', 'f', NULL) FROM seq_1_to_120;
CREATE TABLE cast_info (id INT PRIMARY KEY, person_id INT, movie_id INT, role_id INT, note VARCHAR(40));
INSERT INTO cast_info SELECT seq, 1 + seq % 120, 1 + seq * 11 % 300, 1 + seq % 4, ELT(1 + seq % 3, '(producer)', '(voice)', NULL) FROM seq_1_to_900;

CREATE TABLE hits (WatchID BIGINT, Title TEXT, EventTime DATETIME, EventDate DATE, CounterID INT, UserID BIGINT, URL TEXT, Referer TEXT, RegionID INT, ResolutionWidth SMALLINT, MobilePhone SMALLINT, MobilePhoneModel TEXT, SearchEngineID SMALLINT, SearchPhrase TEXT, AdvEngineID SMALLINT, IsRefresh SMALLINT, DontCountHits SMALLINT, IsLink SMALLINT, IsDownload SMALLINT, TraficSourceID SMALLINT, WindowClientWidth SMALLINT, WindowClientHeight SMALLINT, URLHash BIGINT, RefererHash BIGINT, ClientIP INT);
INSERT INTO hits SELECT seq, IF(seq % 9 = 0, 'Google results', CONCAT('Page ', seq % 40)), '2013-07-01' + INTERVAL seq * 53 MINUTE, DATE('2013-07-01' + INTERVAL seq * 53 MINUTE), 60 + seq % 4, 435090932899640449 + seq % 60 * (seq % 3), CONCAT('http://', IF(seq % 5 = 0, 'www.', ''), ELT(1 + seq % 3, 'google', 'example', 'shop'), '.com/p', seq % 30), IF(seq % 3 = 0, '', CONCAT('https://www.ref', seq % 7, '.org/x/y')), seq % 12, 1000 + seq % 900, seq % 3, ELT(1 + seq % 4, '', 'iPad', 'Nokia', ''), seq % 5, ELT(1 + seq % 4, '', 'karelia', 'cars', 'albums'), seq % 4, seq % 7 = 0, seq % 11 = 0, seq % 2, seq % 13 = 0, CAST(seq % 8 AS SIGNED) - 1, 900 + seq % 5, 500 + seq % 7, 2868770270353813622 + seq % 2, 3594120000172545465 + seq % 2, seq * 1001 % 65536 FROM seq_1_to_800;

CREATE TABLE actor (actor_id INT PRIMARY KEY, first_name VARCHAR(45), last_name VARCHAR(45), last_update TIMESTAMP NOT NULL DEFAULT '2006-02-15 04:34:33');
INSERT INTO actor (actor_id, first_name, last_name) SELECT seq, ELT(1 + seq % 6, 'PENELOPE', 'NICK', 'ED', 'JENNIFER', 'JOHNNY', 'BETTE'), ELT(1 + seq % 5, 'GUINESS', 'WAHLBERG', 'CHASE', 'DAVIS', 'O''HARA') FROM seq_1_to_40;
CREATE TABLE category (category_id INT PRIMARY KEY, name VARCHAR(25));
INSERT INTO category VALUES (1, 'Action'), (2, 'Animation'), (3, 'Children'), (4, 'Comedy'), (5, 'Drama');
CREATE TABLE film (film_id INT PRIMARY KEY, title VARCHAR(128), description TEXT, release_year YEAR, rental_duration TINYINT UNSIGNED, rental_rate DECIMAL(4, 2), length SMALLINT UNSIGNED, replacement_cost DECIMAL(5, 2), rating ENUM('G', 'PG', 'PG-13', 'R', 'NC-17'), special_features SET('Trailers', 'Commentaries', 'Deleted Scenes'));
INSERT INTO film SELECT seq, CONCAT('FILM ', LPAD(seq, 3, '0')), CONCAT('A story of ', seq, ' sharks; and a "boat"'), 2000 + seq % 7, 3 + seq % 5, ELT(1 + seq % 3, 0.99, 2.99, 4.99), 46 + seq * 7 % 140, 9.99 + seq % 20, 1 + seq % 5, seq % 8 FROM seq_1_to_100;
CREATE TABLE film_actor (actor_id INT, film_id INT, PRIMARY KEY (actor_id, film_id));
INSERT IGNORE INTO film_actor SELECT 1 + seq % 40, 1 + seq * 3 % 100 FROM seq_1_to_260;
CREATE TABLE film_category (film_id INT PRIMARY KEY, category_id INT);
INSERT INTO film_category SELECT seq, 1 + seq % 5 FROM seq_1_to_100;
CREATE TABLE inventory (inventory_id INT PRIMARY KEY, film_id INT, store_id INT);
INSERT INTO inventory SELECT seq, 1 + seq * 7 % 95, 1 + seq % 2 FROM seq_1_to_220;
CREATE TABLE rental (rental_id INT PRIMARY KEY, rental_date DATETIME, inventory_id INT, customer_id INT, return_date DATETIME, staff_id INT);
INSERT INTO rental SELECT seq, '2005-05-24 22:53:30' + INTERVAL seq * 5 HOUR, 1 + seq * 3 % 220, 1 + seq % 50, IF(seq % 9 = 0, NULL, '2005-05-26 22:04:30' + INTERVAL seq * 5 + seq % 200 HOUR), 1 + seq % 2 FROM seq_1_to_600;
CREATE TABLE payment (payment_id INT PRIMARY KEY, customer_id INT, staff_id INT, rental_id INT, amount DECIMAL(5, 2), payment_date DATETIME);
INSERT INTO payment SELECT rental_id, customer_id, staff_id, rental_id, 0.99 + rental_id % 9, rental_date FROM rental;

CREATE TABLE odd (`id` INT PRIMARY KEY, `order` INT, `Group Name` VARCHAR(20), `select` DOUBLE, `a``b` INT, `date` DATE, `count` BIGINT UNSIGNED, `öl` VARCHAR(20), txt VARCHAR(60) COLLATE utf8mb4_unicode_ci, js LONGTEXT, bin VARBINARY(16), t TIME(3), ts DATETIME(6), dec1 DECIMAL(30, 10), flt FLOAT, `user` VARCHAR(10), `year` INT, b BIT(4), `価格` INT);
INSERT INTO odd VALUES
 (1, 10, 'g one', 1.5, 7, '2024-02-29', 18446744073709551615, 'straße', 'it''s; a "test" \\ back', '{"a": {"b": [1, 2, 3]}, "c": "x"}', x'00ff', '12:34:56.789', '2024-02-29 23:59:59.123456', 12345678901234567890.0123456789, 0.1, 'root', 2024, b'1010', 100),
 (2, NULL, 'g two', -0.0, NULL, NULL, 0, NULL, '100% _done_', '{"a": null}', NULL, '-838:59:59', NULL, -0.5, NULL, NULL, NULL, NULL, NULL),
 (3, 30, 'g one', 1e300, 9, '1999-12-31', 42, 'ÖL', 'Ünïcode 😀 text', '[1, 2]', 'abc', '00:00:00', '1999-12-31 00:00:00', 0.0000000001, 3.4e38, 'ann', 1999, b'0001', 300),
 (4, 20, NULL, 2.25, 7, '2024-01-31', 7, 'x', '', '"s"', '', '100:00:00', '2024-01-31 12:00:00.5', 1, -1.25, 'bob', 2024, b'1111', 250);
