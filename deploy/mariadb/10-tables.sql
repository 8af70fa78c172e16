-- Something to export.
CREATE TABLE orders (
    id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    ordered_at DATETIME(3) NOT NULL,
    customer VARCHAR(100) NOT NULL,
    total DECIMAL(12, 2) NOT NULL
) DEFAULT CHARSET = utf8mb4;

INSERT INTO orders
SELECT seq, TIMESTAMP '2026-01-01 00:00:00' + INTERVAL seq MINUTE, CONCAT('Customer ', seq % 997), (seq * 37 % 100000) / 100
FROM seq_1_to_100000;
