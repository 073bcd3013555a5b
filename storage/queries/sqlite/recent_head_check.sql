-- Returns a row if a recent event is under a key.
-- Index: the primary key of recent_head.
select 1
from recent_head
where key = ?1
limit 1
