-- Lists stored events after the place 1, at most 2, in the order they were stored. Each row of arrival has up to 3 places.
-- Index: the primary key of arrival.
select n * $3::bigint + place, k
from (select n, events from arrival where n >= $1::bigint / $3::bigint order by n limit $2 + 1) a,
     unnest(events) with ordinality as e (k, place)
where n * $3::bigint + place > $1::bigint
order by n, place
limit $2
