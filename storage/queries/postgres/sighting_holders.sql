-- Lists the relays that hold each of these events.
-- Index: sighting_by_event.
select held, relay.url
from sighting
join relay on relay.k = sighting.relay, unnest(sighting.events) held
where sighting.events && $1::bigint[]
  and held = any($1)
order by relay.url
