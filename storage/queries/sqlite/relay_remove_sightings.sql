-- Takes sightings off the total of a relay.
-- Index: the primary key of relay.
update relay
set events = events - ?2
where k = ?1
