-- Records a sighting that was taken back.
-- Index: the primary key of lost.
insert into lost (event, relay, seen_at, missed_at)
values (?1, ?2, ?3, ?4)
on conflict (event, relay) do update set seen_at = excluded.seen_at, missed_at = excluded.missed_at
