-- Returns the number of a recent event by its id.
-- Index: the primary key of recent_id.
select event
from recent_id
where id = ?1
