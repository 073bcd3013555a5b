-- Adds new sightings to the total of a relay.
-- Index: the primary key of relay.
update relay
set events = events + ?2,
    first_seen_at = min(coalesce(first_seen_at, ?3), ?3),
    last_seen_at = max(coalesce(last_seen_at, ?3), ?3)
where k = ?1
