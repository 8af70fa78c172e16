-- imdb 1a
SELECT MIN(mc.note) AS production_note, MIN(t.title) AS movie_title, MIN(t.production_year) AS movie_year FROM company_type AS ct, info_type AS it, movie_companies AS mc, movie_info AS mi, title AS t WHERE ct.kind = 'production companies' AND it.info = 'top 250 rank' AND mc.note NOT LIKE '%(as Metro-Goldwyn-Mayer Pictures)%' AND (mc.note LIKE '%(co-production)%' OR mc.note LIKE '%(presents)%') AND ct.id = mc.company_type_id AND t.id = mc.movie_id AND t.id = mi.movie_id AND mc.movie_id = mi.movie_id AND it.id = mi.info_type_id;
-- imdb 2
SELECT MIN(t.title) AS movie_title FROM company_name AS cn, movie_companies AS mc, title AS t WHERE cn.country_code ='[de]' AND cn.id = mc.company_id AND mc.movie_id = t.id;
-- imdb 3
SELECT MIN(t.title) AS movie_title FROM movie_info AS mi, title AS t WHERE mi.info IN ('Sweden', 'Norway', 'Germany', 'Denish') AND t.production_year > 2005 AND t.id = mi.movie_id;
-- imdb 4 headers without names
SELECT MIN(mi.info), MAX( t.title ), COUNT(*)/COUNT(DISTINCT t.id) FROM info_type it JOIN movie_info mi ON it.id = mi.info_type_id JOIN title t ON t.id = mi.movie_id WHERE it.info = 'rating' AND mi.info > '5.0';
-- imdb 5 comments in places
SELECT t.title -- the name
, /* the year */ t.production_year # and more
FROM title t WHERE t.kind_id=/* movie */1 ORDER BY t.id LIMIT 5;
-- imdb 6
SELECT k.kind, AVG(t.production_year) FROM kind_type k LEFT JOIN title t ON t.kind_id = k.id GROUP BY k.kind;
-- imdb 7
SELECT n.name, COUNT(*) c FROM name n INNER JOIN cast_info ci ON ci.person_id = n.id WHERE n.gender = 'm' AND n.name LIKE '%Tim%' AND ci.note IN ('(producer)', '(voice)') GROUP BY n.id, n.name HAVING c > 0 ORDER BY c DESC, n.name LIMIT 10 OFFSET 1;
-- imdb 8
SELECT t.title, (SELECT COUNT(*) FROM cast_info ci WHERE ci.movie_id = t.id) FROM title t WHERE t.episode_nr IS NOT NULL ORDER BY 2 DESC, 1 LIMIT 7;
-- imdb 9
SELECT DISTINCT cn.country_code, ct.kind FROM company_name cn CROSS JOIN company_type ct;
-- imdb 10
SELECT title.id, title.title FROM title WHERE EXISTS (SELECT 1 FROM movie_info mi WHERE mi.movie_id = title.id AND mi.note <=> NULL) AND NOT EXISTS (SELECT * FROM cast_info WHERE cast_info.movie_id = title.id AND role_id = 4) ORDER BY title.id;
-- imdb 11
SELECT production_year div 10 * 10 AS decade, count(*) FROM title GROUP BY decade WITH ROLLUP;
-- imdb 12
SELECT t.*, k.kind FROM title AS t NATURAL JOIN kind_type AS k LIMIT 3;
-- imdb 13
SELECT a.id, b.id FROM title a JOIN title b USING (id) JOIN movie_info USING (id) WHERE id < 10;
-- imdb 14
(SELECT title FROM title WHERE id = 1) UNION ALL (SELECT name FROM name WHERE id = 2) ORDER BY title DESC LIMIT 1;
-- imdb 15
SELECT id FROM title WHERE id < 9 INTERSECT SELECT movie_id FROM movie_info EXCEPT SELECT 3;
-- imdb 16
SELECT MIN(cn1.name), MIN(mi1.info) FROM company_name cn1 STRAIGHT_JOIN movie_companies mc1 ON cn1.id = mc1.company_id STRAIGHT_JOIN movie_info mi1 ON mi1.movie_id = mc1.movie_id;
-- imdb 17
SELECT STRAIGHT_JOIN COUNT(*) FROM title t, movie_companies m WHERE t.id = m.movie_id;
-- imdb 18
SELECT t.id, x.n FROM title t LEFT OUTER JOIN (SELECT movie_id, COUNT(*) n FROM cast_info GROUP BY movie_id) x ON x.movie_id = t.id WHERE x.n IS NULL OR x.n > 2 ORDER BY t.id;
-- imdb 19
SELECT (SELECT MAX(id) FROM title) - (SELECT MIN(id) FROM title) , 1+1 ;
-- imdb 20
SELECT COUNT(*) FROM title t RIGHT JOIN kind_type k ON k.id = t.kind_id AND t.production_year BETWEEN 1990 AND 1999 OR k.kind = 'episode';
