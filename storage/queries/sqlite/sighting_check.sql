-- Returns a row if a relay was seen to hold an event.
-- Index: the primary key of sighting.
select 1
from sighting
where event = ?1
  and relay = ?2
