-- Lists the information documents that a relay has sent, the last seen first, with the first and last check of each.
-- Index: the primary key of visit; every check of the relay is read.
select seen.since, seen.until, document.data
from (
  select visit.nip11 as k, min(visit.at) as since, max(visit.at) as until
  from relay
  join visit on visit.relay = relay.k
  where relay.url = $1 and visit.nip11 is not null
  group by visit.nip11
) seen
join document on document.k = seen.k
order by seen.until desc
limit $2
