-- Lists the relays that were seen to hold an event, and later not to.
-- Indexes: the primary keys of lost and relay.
select relay.url
from lost
join relay on relay.k = lost.relay
where lost.event = ?1
order by relay.url
