-- Returns the kind of an event.
-- Index: the primary key of event.
select kind
from event
where k = ?1
