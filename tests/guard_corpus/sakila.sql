-- sakila 1
SELECT CONCAT(a.first_name, ' ', a.last_name) AS actor, COUNT(*) films FROM actor a JOIN film_actor fa USING (actor_id) GROUP BY a.actor_id, actor ORDER BY films DESC, actor LIMIT 10;
-- sakila 2
SELECT c.name AS category, SUM(p.amount) AS total_sales FROM payment AS p INNER JOIN rental AS r ON p.rental_id = r.rental_id INNER JOIN inventory AS i ON r.inventory_id = i.inventory_id INNER JOIN film AS f ON i.film_id = f.film_id INNER JOIN film_category AS fc ON f.film_id = fc.film_id INNER JOIN category AS c ON fc.category_id = c.category_id GROUP BY c.name ORDER BY total_sales DESC;
-- sakila 3
SELECT film.title, category.name AS category, film.rental_rate AS price, film.length AS length, film.rating AS rating, GROUP_CONCAT(CONCAT(actor.first_name, _utf8mb4_free.sep, actor.last_name) ORDER BY actor.actor_id SEPARATOR ', ') AS actors FROM category LEFT JOIN film_category ON category.category_id = film_category.category_id LEFT JOIN film ON film_category.film_id = film.film_id JOIN film_actor ON film.film_id = film_actor.film_id JOIN actor ON film_actor.actor_id = actor.actor_id JOIN (SELECT ' ' AS sep) _utf8mb4_free GROUP BY film.film_id, film.title, category.name, film.rental_rate, film.length, film.rating;
-- sakila 4
SELECT YEAR(rental_date), MONTH(rental_date), COUNT(*), SUM(IF(return_date IS NULL, 1, 0)) FROM rental GROUP BY 1, 2 WITH ROLLUP;
-- sakila 5
SELECT DATE_FORMAT(payment_date, '%Y-%m') ym, SUM(amount) s, SUM(SUM(amount)) OVER (ORDER BY DATE_FORMAT(payment_date, '%Y-%m')) running FROM payment GROUP BY ym ORDER BY ym;
-- sakila 6
SELECT rating, title, RANK() OVER (PARTITION BY rating ORDER BY length DESC) FROM film ORDER BY rating, 3, title;
-- sakila 7
SELECT customer_id, amount, LAG(amount, 1) OVER w, LEAD(amount) OVER w, FIRST_VALUE(amount) OVER w, ROW_NUMBER() OVER w FROM payment WINDOW w AS (PARTITION BY customer_id ORDER BY payment_date, payment_id) ORDER BY payment_id LIMIT 20;
-- sakila 8
SELECT payment_id, AVG(amount) OVER (ORDER BY payment_id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), SUM(amount) OVER (ORDER BY payment_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING), COUNT(*) OVER (ORDER BY amount RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM payment ORDER BY payment_id LIMIT 30;
-- sakila 9
SELECT title, description FROM film WHERE description LIKE '%"boat"%' AND description LIKE '%sharks; and%' AND title RLIKE '^FILM 0[0-9]+$' ORDER BY film_id;
-- sakila 10
SELECT f.title, f.special_features, FIND_IN_SET('Trailers', f.special_features) > 0 has_trailers FROM film f WHERE f.rating IN ('PG', 'R') AND f.rental_rate <> 0.99 ORDER BY f.film_id;
-- sakila 11
WITH top AS (SELECT customer_id, SUM(amount) total FROM payment GROUP BY customer_id), ranked AS (SELECT t.*, DENSE_RANK() OVER (ORDER BY total DESC) AS place FROM top t) SELECT * FROM ranked WHERE place <= 5 ORDER BY place, customer_id;
-- sakila 12
SELECT customer_id, TIMESTAMPDIFF(HOUR, rental_date, return_date), DATEDIFF(return_date, rental_date) FROM rental WHERE return_date > rental_date + INTERVAL 3 DAY ORDER BY rental_id LIMIT 15;
-- sakila 13
SELECT i.store_id, COUNT(DISTINCT i.film_id, i.store_id) FROM inventory i GROUP BY i.store_id;
-- sakila 14
SELECT CASE rating WHEN 'G' THEN 'kids' WHEN 'PG' THEN 'kids' ELSE 'others' END AS audience, CASE WHEN length > 120 THEN 'long' END l, COUNT(*) FROM film GROUP BY audience, l ORDER BY 1, 2;
-- sakila 15
SELECT rental_id FROM rental WHERE inventory_id = ANY (SELECT inventory_id FROM inventory WHERE film_id = 8) OR rental_id > ALL (SELECT rental_id FROM rental WHERE staff_id = 1);
-- sakila 16
SELECT film_id, title FROM film WHERE (film_id, title) IN ((1, 'FILM 001'), (2, 'x'), (3, 'FILM 003'));
-- sakila 17
SELECT LEFT(title, 4), RIGHT(title, 3), SUBSTRING_INDEX(description, ' ', 3), REPLACE(title, 'FILM', 'Movie'), UPPER(LOWER(title)), CHAR_LENGTH(title), REVERSE(title), LPAD(film_id, 5, '0'), REPEAT('*', 3), TRIM(BOTH 'F' FROM title), INSERT(title, 1, 4, 'X'), ELT(1, 'a', 'b'), FIELD(rating, 'G', 'PG') FROM film ORDER BY film_id LIMIT 4;
-- sakila 18
SELECT release_year, MIN(title) FROM film GROUP BY release_year HAVING MIN(title) < 'FILM 006' ORDER BY NULL;
-- sakila 19
SELECT a.actor_id, a.last_name FROM actor a WHERE a.last_name = 'O''HARA' OR a.last_name = "O'HARA" OR a.last_name = 'O\'HARA' ORDER BY 1;
-- sakila 20
SELECT DAYNAME(rental_date) AS `day`, HOUR(rental_date) `hour`, COUNT(*) AS 'number of rentals' FROM rental GROUP BY `day`, `hour` ORDER BY 3 DESC, 1, 2 LIMIT 5;
-- sakila 21
SELECT f.film_id, IFNULL(r.n, 0) FROM film f LEFT JOIN (SELECT i.film_id, COUNT(*) n FROM rental r JOIN inventory i ON i.inventory_id = r.inventory_id GROUP BY i.film_id) r ON r.film_id = f.film_id ORDER BY 1;
-- sakila 22
SELECT COUNT(*), COUNT(return_date), COUNT(*) - COUNT(return_date) AS open, ROUND(100 * COUNT(return_date) / COUNT(*), 1) FROM rental;
-- sakila 23
SELECT DISTINCT SQRT(length) > 10, length MOD 7, length % 7, length DIV 60, length / 60, -length, ~length & 255, length | 1, length ^ 3, length << 2, length >> 1 FROM film ORDER BY length;
-- sakila 24
WITH RECURSIVE days (d) AS (SELECT DATE('2005-05-24') UNION ALL SELECT d + INTERVAL 1 DAY FROM days WHERE d < '2005-06-10') SELECT d, COUNT(rental_id) FROM days LEFT JOIN rental ON DATE(rental_date) = d GROUP BY d ORDER BY d;
-- sakila 25
SELECT NTILE(4) OVER (ORDER BY length, film_id) q, film_id, PERCENT_RANK() OVER (ORDER BY length), CUME_DIST() OVER (ORDER BY length) FROM film ORDER BY film_id;
