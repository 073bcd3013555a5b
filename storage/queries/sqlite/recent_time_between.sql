-- Lists recent events dated from one time to another, both inclusive.
-- Index: the primary key of recent_time.
select created_at, id, event
from recent_time
where created_at <= ?1
  and created_at >= ?2
