-- Returns the date of an event by its number.
-- Index: the primary key of event.
select created_at
from event
where k = ?1
