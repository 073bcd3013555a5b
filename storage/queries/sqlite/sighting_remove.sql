-- Removes the sightings of an event, and returns their relays.
-- Index: the primary key of sighting.
delete from sighting
where event = ?1
returning relay
