-- Lists the relays that were seen to hold each of these events, and later not to.
-- Indexes: the primary keys of lost and relay.
select lost.event, relay.url
from lost
join relay on relay.k = lost.relay
where lost.event = any($1)
order by relay.url
