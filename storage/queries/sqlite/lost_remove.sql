-- Removes lost sightings of an event.
-- Index: the primary key of lost.
delete from lost
where event = ?1
