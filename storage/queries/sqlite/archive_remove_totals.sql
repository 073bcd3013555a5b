-- Takes removed events off the totals of the archive, and moves its first and last date.
update archive
set events = events - ?1, pubkeys = pubkeys - ?2, sightings = sightings - ?3, first_created_at = ?4, last_created_at = ?5
