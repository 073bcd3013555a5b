-- Records sightings that were taken back.
-- Index: the primary key of lost.
insert into lost (event, relay, seen_at, missed_at)
select k, $3, seen_at, $4
from unnest($1::bigint[], $2::bigint[]) as l (k, seen_at)
on conflict (event, relay) do update
set seen_at = excluded.seen_at, missed_at = excluded.missed_at
