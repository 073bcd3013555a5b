-- Takes sightings off the totals of relays and of the archive.
-- Index: the primary key of relay.
with of_relay as (
  update relay
  set events = relay.events - o.n
  from unnest($1::bigint[], $2::bigint[]) as o (relay, n)
  where relay.k = o.relay
)
update archive
set sightings = sightings - (select sum(n) from unnest($2::bigint[]) n)::bigint
