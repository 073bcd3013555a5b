-- Adds to the totals of the archive, and moves its first and last date.
update archive
set events = events + ?1,
    sightings = sightings + ?2,
    pubkeys = pubkeys + ?3,
    last_k = ?4,
    first_created_at = min(coalesce(first_created_at, ?5), coalesce(?5, first_created_at)),
    last_created_at = max(coalesce(last_created_at, ?6), coalesce(?6, last_created_at))
