-- What a relay was seen to hold, and when it was found to hold it no longer. A sighting that comes back is in `sighting`
-- again; what is written here stays as it was.
create table lost (
    event     integer not null,
    relay     integer not null,
    seen_at   integer not null,
    missed_at integer not null,
    primary key (event, relay)
) without rowid;

create view events_relays_lost as
select event.id as event_id, relay.url as relay_url, lost.seen_at, lost.missed_at
  from lost join event on event.k = lost.event join relay on relay.k = lost.relay
 where not exists (select 1 from sighting s where s.event = lost.event and s.relay = lost.relay);
