-- Returns which of these ids are stored.
-- Index: the primary key of event.
select id
from event
where id = any($1)
