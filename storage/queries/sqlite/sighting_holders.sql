-- Lists the relays that hold an event.
-- Indexes: the primary keys of sighting and relay.
select relay.url
from sighting
join relay on relay.k = sighting.relay
where sighting.event = ?1
order by relay.url
