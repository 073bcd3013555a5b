-- Adds new sightings to the total of a relay.
-- Index: the primary key of relay.
update relay
set events = events + $2, first_seen_at = least(first_seen_at, $3), last_seen_at = greatest(last_seen_at, $3)
where k = $1
