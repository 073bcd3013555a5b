-- Integer surrogates stand for relays and events wherever they are referred to; the views at the end are the
-- shape that people query.

create table relay (
    k             bigint primary key generated always as identity,
    url           text    not null unique,
    network       text    not null,
    discovered_at bigint not null,
    state         text    not null default 'new',
    checked_at    bigint,
    failures      bigint not null default 0,
    check_due_at  bigint not null default 0,
    sync_due_at   bigint not null default 0,
    events        bigint not null default 0,
    first_seen_at bigint,
    last_seen_at  bigint
);

-- The archive as a whole, in one row: which profile it keeps, and its totals.
create table archive (
    one       integer primary key default 1 check (one = 1),
    profile   text,
    events    bigint  not null default 0,
    pubkeys   bigint  not null default 0,
    sightings bigint  not null default 0,
    -- 1 if the text of events is indexed in `search`.
    search    integer not null default 0
) with (fillfactor = 50);
insert into archive default values;

-- Totals are kept up in the transaction that changes them. `vanished_until`: the author asked all relays to forget what
-- is dated up to then (NIP-62).
create table author (
    k              integer primary key generated always as identity,
    pubkey         bytea  not null unique,
    events         bigint not null default 0,
    kinds          bigint not null default 0,
    vanished_until bigint
) with (fillfactor = 70);

create table kind (
    kind    integer primary key,
    events  bigint not null,
    pubkeys bigint not null
) with (fillfactor = 50);

-- `k` is the first 64 bits of the id, so that whoever has the id has the number, and the tables that refer to events can
-- be distributed by it. `tags` is packed (docs/DATABASE.md) and holds the exact content too where `content` cannot: text
-- has no NUL, and shows U+FFFD in its place. `sig` is null where the profile keeps none.
create table event (
    k          bigint   not null,
    created_at bigint   not null,
    author     integer  not null,
    kind       integer  not null,
    id         bytea    not null,
    sig        bytea,
    tags       bytea    not null,
    content    text     not null,
    tagkeys    bigint[] not null,
    primary key (id, k)
);
create index event_by_time   on event (created_at desc);
create index event_by_author on event (author, kind, created_at desc);
create index event_by_kind   on event (kind, created_at desc);
-- 64 bits of the hash of name and value of each one-letter tag. What is new waits in a list that each look-up reads whole:
-- a short one, in KiB.
create index event_by_tag    on event using gin (tagkeys) with (gin_pending_list_limit = 256);

-- What was stored together, in the order in which it became visible.
create table arrival (
    n      bigint   primary key generated always as identity,
    events bigint[] not null
);

-- The text of kinds 0, 1 and 30023 (NIP-50).
create table search (
    event    bigint   primary key,
    document tsvector not null
);
create index search_by_text on search using gin (document);

-- What a good relay would not give to clients, and from when on.
create table hidden (
    event  bigint not null,
    reason text   not null,
    since  bigint not null,
    primary key (event, reason)
);

-- The newest version of each replaceable or addressable event (NIP-01), and up to which date versions were deleted
-- (NIP-09). `key` is 64 bits of the hash of author, kind and d tag.
create table slot (
    key           bigint primary key,
    event         bigint,
    created_at    bigint,
    id            bytea,
    deleted_until bigint
);

-- What authors deleted by id, stored here or not: 64 bits of the hash of author and id.
create table deletion (
    key bigint primary key
);

-- What one relay was seen to hold at a time, of events dated from `since` to `until`. A row for each event and relay
-- would take six times the room.
create table sighting (
    relay   bigint   not null references relay (k),
    seen_at bigint   not null,
    since   bigint   not null,
    until   bigint   not null,
    events  bigint[] not null
);
-- Nothing makes these smaller, and put apart they would take more room.
alter table sighting alter column events set storage plain;
create index sighting_by_relay on sighting (relay, until);
create index sighting_by_event on sighting using gin (events) with (gin_pending_list_limit = 256);

create table coverage (
    relay     bigint not null references relay (k),
    filter    text    not null,
    since     bigint not null,
    until     bigint not null,
    method    text    not null,
    proven_at bigint not null,
    primary key (relay, filter, method, since)
);

create table gap (
    relay    bigint not null references relay (k),
    filter   text    not null,
    since    bigint not null,
    until    bigint not null,
    reason   text    not null,
    count    bigint,
    tried_at bigint not null,
    primary key (relay, filter, since)
);

create table document (
    id   bytea not null,
    type text not null,
    data text not null,
    primary key (id, type)
);

create table metadata (
    relay        bigint not null references relay (k),
    generated_at bigint not null,
    type         text    not null,
    document     bytea    not null,
    rtt_open_ms  bigint,
    rtt_read_ms  bigint,
    rtt_write_ms bigint,
    primary key (relay, type, generated_at)
);

create table service_state (
    service_name text not null,
    state_type   text not null,
    state_key    text not null,
    state_value  text not null,
    primary key (service_name, state_type, state_key)
);

create table job (
    id          bytea    primary key,
    kind        bigint not null,
    customer    bytea    not null,
    request     text    not null,
    received_at bigint not null,
    status      text    not null,
    ended_at    bigint
);
create index job_open on job (received_at) where status in ('received', 'working');

create table outbox (
    k         bigint primary key generated always as identity,
    event     bytea    not null,
    relay     text    not null,
    body      text    not null,
    queued_at bigint not null,
    due_at    bigint,
    attempts  bigint not null default 0,
    sent_at   bigint,
    trouble   text,
    slot      text,
    unique (event, relay)
);
create index outbox_due on outbox (relay, due_at) where due_at is not null;

-- A number of seven bits a byte, the lowest first; `at` is the place of its first byte and then of what follows it.
create function packed_length(packed bytea, inout at int, out n bigint) language plpgsql immutable parallel safe as $$
declare
    byte  int;
    shift int := 0;
begin
    n := 0;
    loop
        byte := get_byte(packed, at);
        at := at + 1;
        n := n | ((byte & 127)::bigint << shift);
        exit when byte < 128;
        shift := shift + 7;
    end loop;
end $$;

-- Tags as they were signed, with U+FFFD for NUL, which jsonb cannot hold.
create function event_tags(packed bytea) returns jsonb language plpgsql immutable parallel safe as $$
declare
    at     int := 0;
    tags   bigint;
    n      bigint;
    header bigint;
    bytes  bytea;
    tag    text[];
    result jsonb := '[]';
begin
    select * into at, tags from packed_length(packed, at);
    for t in 1 .. tags loop
        select * into at, n from packed_length(packed, at);
        tag := '{}';
        for v in 1 .. n loop
            select * into at, header from packed_length(packed, at);
            bytes := substr(packed, at + 1, (header >> 1)::int);
            at := at + (header >> 1)::int;
            if header & 1 = 1 then
                tag := tag || encode(bytes, 'hex');
            else
                while position('\x00'::bytea in bytes) > 0 loop
                    bytes := overlay(bytes placing '\xefbfbd'::bytea from position('\x00'::bytea in bytes) for 1);
                end loop;
                tag := tag || convert_from(bytes, 'UTF8');
            end if;
        end loop;
        result := result || jsonb_build_array(to_jsonb(tag));
    end loop;
    return result;
end $$;

-- The first value of each one-letter tag, as `e:5c83...`.
create function event_tagvalues(packed bytea) returns text[] language sql immutable parallel safe as $$
    select coalesce(array_agg((t ->> 0) || ':' || (t ->> 1) order by n), '{}')
      from jsonb_array_elements(event_tags(packed)) with ordinality as e (t, n)
     where t ->> 0 ~ '^[A-Za-z]$' and jsonb_array_length(t) > 1
$$;

create view relays as select url, network, discovered_at, state, checked_at from relay;

create view events as
select event.id, author.pubkey, event.created_at, event.kind, event_tags(event.tags) as tags,
       event_tagvalues(event.tags) as tagvalues, event.content, event.sig
  from event join author on author.k = event.author;

create view events_relays as
select event.id as event_id, relay.url as relay_url, sighting.seen_at
  from event
  join sighting on sighting.events @> array[event.k]
  join relay on relay.k = sighting.relay;

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
select events, pubkeys, (select count(*) from kind where events > 0) as kinds,
       (select min(created_at) from event) as first_created_at, (select max(created_at) from event) as last_created_at,
       sightings
  from archive;

create view relays_statistics as
select url as relay_url, network, discovered_at, events, first_seen_at, last_seen_at from relay;

create view kind_counts_total as select kind, events, pubkeys from kind where events > 0;

create view pubkey_counts_total as select pubkey, events, kinds from author where events > 0;
