-- Returns the numbers and dates of events.
-- Index: the primary key of event.
select k, created_at
from event
where id = any($1)
