-- Removes and returns a sighting that is older than a time: the relay no longer holds the event.
-- Index: the primary key of sighting.
delete from sighting
where event = ?1
  and relay = ?2
  and seen_at < ?3
returning event, seen_at
