-- Removes an event.
-- Index: the primary key of event.
delete from event
where k = ?1
