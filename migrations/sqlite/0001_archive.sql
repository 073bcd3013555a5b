-- Integer surrogates stand for relays and events wherever they are referred to; the views at the end are the
-- shape that people query.

create table relay (
    k             integer primary key,
    url           text    not null unique,
    network       text    not null,
    discovered_at integer not null,
    state         text    not null default 'new',
    checked_at    integer,
    failures      integer not null default 0,
    check_due_at  integer not null default 0,
    sync_due_at   integer not null default 0
);

create table event (
    k          integer primary key autoincrement,
    id         blob    not null unique,
    pubkey     blob    not null,
    created_at integer not null,
    kind       integer not null,
    tags       text    not null,
    content    text    not null,
    sig        blob    not null
);
create index event_by_time   on event (created_at desc, id);
create index event_by_author on event (pubkey, created_at desc);
create index event_by_kind   on event (kind, created_at desc);

-- One row for each one-letter tag: `key` is 64 bits of the hash of its name and value.
create table tag (
    key        integer not null,
    created_at integer not null,
    event      integer not null references event (k) on delete cascade,
    primary key (key, created_at, event)
) without rowid;
create index tag_by_event on tag (event);

create table sighting (
    event   integer not null references event (k) on delete cascade,
    relay   integer not null references relay (k),
    seen_at integer not null,
    primary key (event, relay)
) without rowid;

create table coverage (
    relay     integer not null references relay (k),
    filter    text    not null,
    since     integer not null,
    until     integer not null,
    method    text    not null,
    proven_at integer not null,
    primary key (relay, filter, method, since)
) without rowid;

create table gap (
    relay    integer not null references relay (k),
    filter   text    not null,
    since    integer not null,
    until    integer not null,
    reason   text    not null,
    count    integer,
    tried_at integer not null,
    primary key (relay, filter, since)
) without rowid;

create table document (
    id   blob not null,
    type text not null,
    data text not null,
    primary key (id, type)
);

create table metadata (
    relay        integer not null references relay (k),
    generated_at integer not null,
    type         text    not null,
    document     blob    not null,
    rtt_open_ms  integer,
    rtt_read_ms  integer,
    rtt_write_ms integer,
    primary key (relay, type, generated_at)
) without rowid;

create table service_state (
    service_name text not null,
    state_type   text not null,
    state_key    text not null,
    state_value  text not null,
    primary key (service_name, state_type, state_key)
) without rowid;

create table job (
    id          blob    primary key,
    kind        integer not null,
    customer    blob    not null,
    request     text    not null,
    received_at integer not null,
    status      text    not null,
    ended_at    integer
);
create index job_open on job (received_at) where status in ('received', 'working');

create table outbox (
    k         integer primary key autoincrement,
    event     blob    not null,
    relay     text    not null,
    body      text    not null,
    queued_at integer not null,
    due_at    integer,
    attempts  integer not null default 0,
    sent_at   integer,
    trouble   text,
    slot      text,
    unique (event, relay)
);
create index outbox_due on outbox (relay, due_at) where due_at is not null;

create view relays as select url, network, discovered_at, state, checked_at from relay;

create view events as
select id, pubkey, created_at, kind, tags,
       (select json_group_array(json_extract(t.value, '$[0]') || ':' || json_extract(t.value, '$[1]'))
          from json_each(event.tags) t
         where length(json_extract(t.value, '$[0]')) = 1 and json_array_length(t.value) > 1) as tagvalues,
       content, sig
  from event;

create view events_relays as
select event.id as event_id, relay.url as relay_url, sighting.seen_at
  from sighting join event on event.k = sighting.event join relay on relay.k = sighting.relay;

create view nip11 as select id, data from document where type = 'nip11';
create view nip66 as select id, data from document where type = 'nip66';

create view relay_metadata as
select relay.url as relay_url, generated_at, type, document as metadata_id, rtt_open_ms, rtt_read_ms, rtt_write_ms
  from metadata join relay on relay.k = metadata.relay;

create view relay_metadata_latest as
select relay.url as relay_url, generated_at, type, document as metadata_id, rtt_open_ms, rtt_read_ms, rtt_write_ms
  from metadata m join relay on relay.k = m.relay
 where generated_at = (select max(generated_at) from metadata n where n.relay = m.relay and n.type = m.type);

create view events_statistics as
select count(*) as events, count(distinct pubkey) as pubkeys, count(distinct kind) as kinds,
       min(created_at) as first_created_at, max(created_at) as last_created_at,
       (select count(*) from sighting) as sightings
  from event;

create view relays_statistics as
select relay.url as relay_url, relay.network, relay.discovered_at, count(sighting.event) as events,
       min(sighting.seen_at) as first_seen_at, max(sighting.seen_at) as last_seen_at
  from relay left join sighting on sighting.relay = relay.k group by relay.k;

create view kind_counts_total as
select kind, count(*) as events, count(distinct pubkey) as pubkeys from event group by kind;

create view pubkey_counts_total as
select pubkey, count(*) as events, count(distinct kind) as kinds from event group by pubkey;
