-- Returns what is to be known of an event that is removed.
-- Index: the primary key of event.
select k, author, kind, created_at, payload, id
from event
where k = ?1
