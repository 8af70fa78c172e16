-- returns above the store's average
with customer_total_return as (select sr_customer_sk as ctr_customer_sk, sr_store_sk as ctr_store_sk,
sum(sr_return_amt) as ctr_total_return from store_returns, date_dim where sr_returned_date_sk = d_date_sk and d_year =
2000 group by sr_customer_sk, sr_store_sk) select c_customer_id from customer_total_return ctr1, store, customer where
ctr1.ctr_total_return > (select avg(ctr_total_return)*1.2 from customer_total_return ctr2 where ctr1.ctr_store_sk =
ctr2.ctr_store_sk) and s_store_sk = ctr1.ctr_store_sk and s_state = 'TN' and ctr1.ctr_customer_sk = c_customer_sk
order by c_customer_id limit 100;
-- sales by day of the week, year over year
with wscs as (select sold_date_sk, sales_price from (select ws_sold_date_sk sold_date_sk, ws_ext_sales_price
sales_price from web_sales union all select cs_sold_date_sk sold_date_sk, cs_ext_sales_price sales_price from
catalog_sales) x), wswscs as (select d_week_seq, sum(case when (d_day_name='Sunday') then sales_price else null end)
sun_sales, sum(case when (d_day_name='Monday') then sales_price else null end) mon_sales from wscs, date_dim where
d_date_sk = sold_date_sk group by d_week_seq) select d_week_seq1, round(sun_sales1/sun_sales2,2) r from (select
wswscs.d_week_seq d_week_seq1, sun_sales sun_sales1 from wswscs,date_dim where date_dim.d_week_seq = wswscs.d_week_seq
and d_year = 2000) y, (select wswscs.d_week_seq d_week_seq2, sun_sales sun_sales2 from wswscs,date_dim where
date_dim.d_week_seq = wswscs.d_week_seq and d_year = 2001) z where d_week_seq1=d_week_seq2-53 order by d_week_seq1, r;
-- brand revenue in November
select dt.d_year, item.i_brand_id brand_id, item.i_brand brand, sum(ss_ext_sales_price) sum_agg from date_dim dt,
store_sales, item where dt.d_date_sk = store_sales.ss_sold_date_sk and store_sales.ss_item_sk = item.i_item_sk and
item.i_manufact_id = 28 and dt.d_moy=11 group by dt.d_year, item.i_brand, item.i_brand_id order by dt.d_year, sum_agg
desc, brand_id limit 100;
-- states of costly items
select a.ca_state state, count(*) cnt from customer_address a, customer c, store_sales s, date_dim d, item i where
a.ca_address_sk = c.c_current_addr_sk and c.c_customer_sk = s.ss_customer_sk and s.ss_sold_date_sk = d.d_date_sk and
s.ss_item_sk = i.i_item_sk and d.d_month_seq = (select distinct (d_month_seq) from date_dim where d_year = 2001 and
d_moy = 1 and d_dom = 5) and i.i_current_price > 1.2 * (select avg(j.i_current_price) from item j where j.i_category =
i.i_category) group by a.ca_state having count(*) >= 1 order by cnt, a.ca_state limit 100;
-- averages by demography
select i_item_id, avg(ss_quantity) agg1, avg(ss_list_price) agg2, avg(ss_coupon_amt) agg3, avg(ss_sales_price) agg4
from store_sales, customer_demographics, date_dim, item, promotion where ss_sold_date_sk = d_date_sk and ss_item_sk =
i_item_sk and ss_cdemo_sk = cd_demo_sk and ss_promo_sk = p_promo_sk and cd_gender = 'M' and cd_marital_status = 'S'
and cd_education_status = 'College' and (p_channel_email = 'N' or p_channel_event = 'N') and d_year = 2000 group by
i_item_id order by i_item_id limit 100;
-- profit by zip codes that two lists share
select s_store_name, sum(ss_net_profit) from store_sales, date_dim, store, (select ca_zip from ((select
substr(ca_zip,1,5) ca_zip from customer_address where substr(ca_zip,1,5) in ('85670','85671','85672')) intersect
(select ca_zip from (select substr(ca_zip,1,5) ca_zip, count(*) cnt from customer_address, customer where
ca_address_sk = c_current_addr_sk and c_preferred_cust_flag='Y' group by ca_zip having count(*) > 0) a1)) a2) v1 where
ss_store_sk = s_store_sk and ss_sold_date_sk = d_date_sk and d_qoy = 2 and d_year = 2000 group by s_store_name order
by s_store_name limit 100;
-- buckets by quantity
select case when (select count(*) from store_sales where ss_quantity between 1 and 20) > 500 then (select
avg(ss_ext_discount_amt) from store_sales where ss_quantity between 1 and 20) else (select avg(ss_net_paid) from
store_sales where ss_quantity between 1 and 20) end bucket1, case when (select count(*) from store_sales where
ss_quantity between 21 and 40) > 5000000 then 1 else 2 end bucket2 from item where i_item_sk = 1;
-- buyers on two channels
select cd_gender, cd_marital_status, count(*) cnt1, min(cd_dep_count), max(cd_dep_count), stddev_samp(cd_dep_count)
from customer c, customer_address ca, customer_demographics where c.c_current_addr_sk = ca.ca_address_sk and
cd_demo_sk = c.c_current_cdemo_sk and exists (select * from store_sales, date_dim where c.c_customer_sk =
ss_customer_sk and ss_sold_date_sk = d_date_sk and d_year = 2000 and d_moy between 1 and 1+3) and (exists (select *
from web_sales, date_dim where c.c_customer_sk = ws_bill_customer_sk and ws_sold_date_sk = d_date_sk and d_year =
2000)) group by cd_gender, cd_marital_status order by cd_gender, cd_marital_status limit 100;
-- share of a class in its revenue
select i_item_id, i_category, i_class, i_current_price, sum(ws_ext_sales_price) as itemrevenue,
sum(ws_ext_sales_price)*100/sum(sum(ws_ext_sales_price)) over (partition by i_class) as revenueratio from web_sales,
item, date_dim where ws_item_sk = i_item_sk and i_category in ('Sports', 'Books', 'Home') and ws_sold_date_sk =
d_date_sk and d_date between cast('1999-02-22' as date) and (cast('1999-02-22' as date) + interval 30 day) group by
i_item_id, i_category, i_class, i_current_price order by i_category, i_class, i_item_id, revenueratio limit 100;
-- items sold on every channel
with cross_items as (select i_item_sk ss_item_sk from item, (select iss.i_brand_id brand_id from store_sales, item
iss, date_dim d1 where ss_item_sk = iss.i_item_sk and ss_sold_date_sk = d1.d_date_sk and d1.d_year between 1999 and
1999 + 2 intersect select ics.i_brand_id from catalog_sales, item ics, date_dim d2 where cs_item_sk = ics.i_item_sk
and cs_sold_date_sk = d2.d_date_sk) x where i_brand_id = brand_id), avg_sales as (select avg(quantity*list_price)
average_sales from (select ss_quantity quantity, ss_list_price list_price from store_sales union all select
ws_quantity, ws_sales_price from web_sales) x) select channel, i_brand_id, sum(sales), sum(number_sales) from (select
'store' channel, i_brand_id, sum(ss_quantity*ss_list_price) sales, count(*) number_sales from store_sales, item where
ss_item_sk in (select ss_item_sk from cross_items) and ss_item_sk = i_item_sk group by i_brand_id having
sum(ss_quantity*ss_list_price) > (select average_sales from avg_sales)) y group by channel, i_brand_id with rollup;
-- orders from several warehouses
select count(distinct ws_order_number) as `order count`, sum(ws_ext_sales_price) as "total shipping cost",
sum(ws_net_profit) as 'total net profit' from web_sales ws1, date_dim where d_date between '1999-02-01' and
date_add('1999-02-01', interval 60 day) and ws1.ws_sold_date_sk = d_date_sk and exists (select * from web_sales ws2
where ws1.ws_order_number = ws2.ws_order_number and ws1.ws_warehouse_sk <> ws2.ws_warehouse_sk) order by
count(distinct ws_order_number) limit 100;
-- averages by state
select i_item_id, ca_country, ca_state, avg(cast(cs_quantity as decimal(12,2))) agg1 from catalog_sales, customer,
customer_address, item where cs_bill_customer_sk = c_customer_sk and c_current_addr_sk = ca_address_sk and cs_item_sk
= i_item_sk and ca_state in ('TN','CA') group by i_item_id, ca_country, ca_state order by ca_country, ca_state,
i_item_id limit 10;
-- months off their average
select * from (select i_category, i_class, i_brand, s_store_name, d_moy, sum(ss_sales_price) sum_sales,
avg(sum(ss_sales_price)) over (partition by i_category, i_brand, s_store_name) avg_monthly_sales, rank() over
(partition by i_category order by sum(ss_sales_price) desc) rn from item, store_sales, date_dim, store where
ss_item_sk = i_item_sk and ss_sold_date_sk = d_date_sk and ss_store_sk = s_store_sk and d_year in (2000) group by
i_category, i_class, i_brand, s_store_name, d_moy) tmp1 where case when (avg_monthly_sales <> 0) then (abs(sum_sales -
avg_monthly_sales) / avg_monthly_sales) else null end > 0.1 order by sum_sales - avg_monthly_sales, s_store_name, rn,
d_moy, i_class, i_brand limit 100;
-- revenue by zip code or item
select substr(ca_zip,1,5), ca_city, sum(ws_sales_price) from web_sales, customer, customer_address, date_dim, item
where ws_bill_customer_sk = c_customer_sk and c_current_addr_sk = ca_address_sk and ws_item_sk = i_item_sk and
(substr(ca_zip,1,5) in ('85669','86197') or i_item_id in (select i_item_id from item where i_item_sk in (2, 3, 5, 7,
11, 13))) and ws_sold_date_sk = d_date_sk group by ca_zip, ca_city order by ca_zip, ca_city limit 100;
-- neighbours of each month
with v1 as (select i_category, i_brand, s_store_name, d_year, d_moy, sum(ss_sales_price) sum_sales,
avg(sum(ss_sales_price)) over (partition by i_category, i_brand, s_store_name, d_year) avg_monthly_sales, rank() over
(partition by i_category, i_brand, s_store_name order by d_year, d_moy) rn from item, store_sales, date_dim, store
where ss_item_sk = i_item_sk and ss_sold_date_sk = d_date_sk and ss_store_sk = s_store_sk and (d_year = 2000 or
(d_year = 2000-1 and d_moy =12)) group by i_category, i_brand, s_store_name, d_year, d_moy), v2 as (select
v1.i_category, v1.d_year, v1.d_moy, v1.avg_monthly_sales, v1.sum_sales, v1_lag.sum_sales psum, v1_lead.sum_sales nsum
from v1, v1 v1_lag, v1 v1_lead where v1.i_category = v1_lag.i_category and v1.i_category = v1_lead.i_category and
v1.i_brand = v1_lag.i_brand and v1.i_brand = v1_lead.i_brand and v1.s_store_name = v1_lag.s_store_name and
v1.s_store_name = v1_lead.s_store_name and v1.rn = v1_lag.rn + 1 and v1.rn = v1_lead.rn - 1) select * from v2 where
d_year = 2000 order by sum_sales - avg_monthly_sales, d_moy, psum, nsum limit 100;
-- share of promoted sales
select promotions, total, cast(promotions as decimal(15,4))/cast(total as decimal(15,4))*100 from (select
sum(ss_ext_sales_price) promotions from store_sales, store, promotion where ss_store_sk = s_store_sk and ss_promo_sk =
p_promo_sk and s_gmt_offset = -5 and p_channel_email = 'Y') promotional_sales cross join (select
sum(ss_ext_sales_price) total from store_sales) all_sales order by promotions, total limit 100;
-- days to shipment
select sum(case when (ws_ship_date_sk - ws_sold_date_sk <= 30) then 1 else 0 end) as `30 days`, sum(case when
(ws_ship_date_sk - ws_sold_date_sk > 30) and (ws_ship_date_sk - ws_sold_date_sk <= 60) then 1 else 0 end) as `31-60
days`, sum(case when (ws_ship_date_sk - ws_sold_date_sk > 120) then 1 else 0 end) as `>120 days` from web_sales;
-- best and worst by rank
select asceding.rnk, i1.i_item_id best_performing, i2.i_item_id worst_performing from (select * from (select item_sk,
rank() over (order by rank_col asc, item_sk) rnk from (select ss_item_sk item_sk, avg(ss_net_profit) rank_col from
store_sales ss1 where ss_store_sk = 4 group by ss_item_sk having avg(ss_net_profit) > 0.9*(select avg(ss_net_profit)
rank_col from store_sales where ss_store_sk = 4)) v1) v11 where rnk < 11) asceding, (select * from (select item_sk,
rank() over (order by rank_col desc, item_sk) rnk from (select ss_item_sk item_sk, avg(ss_net_profit) rank_col from
store_sales ss1 where ss_store_sk = 4 group by ss_item_sk) v2) v21 where rnk < 11) descending, item i1, item i2 where
asceding.rnk = descending.rnk and i1.i_item_sk = asceding.item_sk and i2.i_item_sk = descending.item_sk order by
asceding.rnk limit 100;
-- one channel beside the other
with ws as (select d_year AS ws_sold_year, ws_item_sk, ws_bill_customer_sk ws_customer_sk, sum(ws_quantity) ws_qty
from web_sales left join store_returns on sr_ticket_number = ws_order_number and ws_item_sk = sr_item_sk join date_dim
on ws_sold_date_sk = d_date_sk where sr_ticket_number is null group by d_year, ws_item_sk, ws_bill_customer_sk), ss as
(select d_year AS ss_sold_year, ss_item_sk, ss_customer_sk, sum(ss_quantity) ss_qty from store_sales join date_dim on
ss_sold_date_sk = d_date_sk group by d_year, ss_item_sk, ss_customer_sk) select ss_sold_year, ss_item_sk,
round(ss_qty/(coalesce(ws_qty,0)+1),2) ratio, coalesce(ws_qty,0) other_chan_qty from ss left join ws on
(ws_sold_year=ss_sold_year and ws_item_sk=ss_item_sk and ws_customer_sk=ss_customer_sk) where (coalesce(ws_qty,0)>0)
order by ss_sold_year, ss_item_sk, ss_qty desc, ratio limit 50;
-- named windows and frames
select i_item_id, s_store_id, sum(ss_net_profit) over w as run, row_number() over (partition by i_item_id order by
ss_ticket_number, s_store_id rows between unbounded preceding and current row) rn, lag(ss_quantity, 1) over (order by
ss_ticket_number, i_item_id) p from store_sales join item on ss_item_sk=i_item_sk join store on s_store_sk=ss_store_sk
window w as (partition by i_item_id order by ss_ticket_number, s_store_id) order by 1,2,3,4 limit 77;
-- customers on one channel alone
select count(*) from ((select distinct c_last_name, c_first_name, d_date from store_sales, date_dim, customer where
store_sales.ss_sold_date_sk = date_dim.d_date_sk and store_sales.ss_customer_sk = customer.c_customer_sk) except
(select distinct c_last_name, c_first_name, d_date from catalog_sales, date_dim, customer where
catalog_sales.cs_sold_date_sk = date_dim.d_date_sk and catalog_sales.cs_bill_customer_sk = customer.c_customer_sk))
cool_cust;
-- months counted recursively
with recursive m (n) as (select 1 union all select n + 1 from m where n < 12) select n, count(d_date_sk) from m left
join date_dim on d_moy = n and d_year = 2000 group by n order by n;
-- names joined by a sign
select c_last_name as customername, coalesce(c_last_name,'') || ', ' || coalesce(c_first_name,'') from customer order
by c_customer_id limit 5;
-- items of a maker in any of several forms
select distinct(i_item_id) from item i1 where i_manufact_id between 8 and 8+40 and (select count(*) as item_cnt from
item where (i_manufact_id = i1.i_manufact_id and ((i_category = 'Books' and (i_color = 'red' or i_color = 'pale') and
(i_units = 'Oz' or i_units = 'Each') and (i_size = 'N/A' or i_size = 'small'))))) > 0 order by i_item_id limit 100;
-- aggregates as JSON and text
select d_quarter_name, json_arrayagg(d_moy), group_concat(distinct d_moy order by d_moy desc separator ';') from
date_dim where d_year = 2000 group by d_quarter_name order by d_quarter_name;
-- functions of every kind
select nullif(ss_quantity, 0), greatest(ss_quantity, 5), ifnull(ss_promo_sk, -1), date_format(d_date, '%Y-%m; %W'),
replace(i_brand, '#', ';'), timestampdiff(day, '1999-01-01', d_date), extract(year_month from d_date) from store_sales
join date_dim on d_date_sk = ss_sold_date_sk join item on i_item_sk = ss_item_sk order by ss_ticket_number, ss_item_sk
limit 10;
-- ranks over aggregates
select s.s_state, ntile(4) over (order by sum(x.ss_net_paid)) as q, percent_rank() over (order by sum(x.ss_net_paid)),
first_value(s.s_state) over (order by sum(x.ss_net_paid) desc) from store s inner join store_sales as x on
x.ss_store_sk = s.s_store_sk group by s.s_state order by s.s_state;
-- a set operation in parentheses
(select 'a' k, count(*) n from item) union (select 'b', count(*) from store) order by k desc limit 1 offset 1;
-- escapes and patterns
select i.*, (select max(ss_quantity) from store_sales where ss_item_sk = i.i_item_sk) as mx from item i where
i.i_item_desc like '%1\_%' escape '\\' or i.i_item_desc regexp '^desc [0-9]$' order by i.i_item_sk;
-- keywords as names
select year(d_date) as `year`, month(d_date) `month`, count(*) as `count`, min(d_date) as `date`, max(d_date) `time`
from date_dim group by 1, 2 having `count` > 28 order by `year` desc, `month` asc limit 3, 4;
-- a name that is a function
select if(grouping_id is null, 'x', 'y') from (select null as grouping_id) t;
-- quantifiers and null-safe comparison
select ss_ticket_number, any_q.q from store_sales left join (select ss_item_sk it, avg(ss_quantity) q from store_sales
group by ss_item_sk) any_q on any_q.it = ss_item_sk and ss_quantity > all (select cd_dep_count from
customer_demographics) where ss_quantity <=> 50 order by 1, 2 limit 20;
-- dates and intervals
select d_date + interval 1 month as nm, last_day(d_date), d_date - interval '1' day, date(d_date) = '2000-02-29',
weekday(d_date), cast(d_date as char), convert(d_date, char(10)), time('10:00:00') from date_dim where d_date >= date
'2000-02-28' and d_date < timestamp '2000-03-02 00:00:00' order by d_date;
-- operators
select 1e0/3, 5 div 2, 5 mod 2, -7 % 3, 2 ^ 3, 6 & 3, 1 << 4, ~0, not 1, 1 xor 1, 'a' <> 'b', 1 is true, null is not
null, 3 between 1 and 5, 'x' not in ('y'), exists (select 1), binary 'a' = 'A', 'é' collate utf8mb4_bin = 'e';
