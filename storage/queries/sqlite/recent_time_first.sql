-- Returns the oldest date of a recent event.
-- Index: the primary key of recent_time.
select min(created_at)
from recent_time
