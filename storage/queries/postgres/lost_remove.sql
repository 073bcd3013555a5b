-- Removes lost sightings of events that are removed.
-- Index: the primary key of lost.
delete from lost
where event = any($1)
