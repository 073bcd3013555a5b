-- Returns the author of an event.
-- Index: the primary key of event.
select author
from event
where k = ?1
