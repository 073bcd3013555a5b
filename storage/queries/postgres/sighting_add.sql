-- Stores sightings of one relay as a set with the span of its events.
-- Index: none is searched.
insert into sighting (relay, seen_at, since, until, events)
values ($1, $2, $3, $4, $5)
