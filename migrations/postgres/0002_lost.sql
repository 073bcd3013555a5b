-- What a relay was seen to hold, and when it was found to hold it no longer. A sighting that comes back is in `sighting`
-- again; what is written here stays as it was.
create table lost (
    event     bigint not null,
    relay     bigint not null references relay (k),
    seen_at   bigint not null,
    missed_at bigint not null,
    primary key (event, relay)
);

create view events_relays_lost as
select event.id as event_id, relay.url as relay_url, lost.seen_at, lost.missed_at
  from lost
  join event on event.id >= int8send(lost.event) and event.id <= int8send(lost.event) || decode(repeat('ff', 24), 'hex')
  join relay on relay.k = lost.relay
 where not exists (select 1 from sighting s where s.events @> array[lost.event] and s.relay = lost.relay);
