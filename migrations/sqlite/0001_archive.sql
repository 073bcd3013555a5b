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
    sync_due_at   integer not null default 0,
    events        integer not null default 0,
    first_seen_at integer,
    last_seen_at  integer
);

-- The archive as a whole, in one row: which profile it keeps, its totals, and the last number given to an event, which
-- is never given again.
create table archive (
    one       integer primary key default 1 check (one = 1),
    profile   text,
    events    integer not null default 0,
    pubkeys   integer not null default 0,
    sightings integer not null default 0,
    -- 1 if the text of events is indexed in `search`.
    search    integer not null default 0,
    last_k    integer not null default 0
);
insert into archive default values;

-- Totals are kept up in the transaction that changes them. `vanished_until`: the author asked all relays to forget what
-- is dated up to then (NIP-62).
create table author (
    k              integer primary key,
    pubkey         blob    not null unique,
    events         integer not null default 0,
    kinds          integer not null default 0,
    vanished_until integer
);
create index author_vanished on author (vanished_until) where vanished_until is not null;

create table kind (
    kind    integer primary key,
    events  integer not null,
    pubkeys integer not null
);

-- Events in the order they were stored. `payload` holds tags and content (docs/DATABASE.md); `sig` is null where the
-- profile keeps none.
create table event (
    k          integer primary key,
    id         blob    not null unique,
    author     integer not null,
    created_at integer not null,
    kind       integer not null,
    sig        blob,
    payload    blob    not null
);
-- Relays give events newest first, and an index that grows at its end is a full one.
create index event_by_time   on event (created_at desc, id);
create index event_by_author on event (author, kind, created_at desc);
create index event_by_kind   on event (kind, created_at desc);

-- One row for each one-letter tag: `key` is 64 bits of the hash of its name and value.
create table tag (
    key        integer not null,
    created_at integer not null,
    event      integer not null,
    primary key (key, created_at desc, event)
) without rowid;

-- The text of kinds 0, 1 and 30023, by event (NIP-50).
create virtual table search using fts5(text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2');

-- What a good relay would not give to clients, and from when on.
create table hidden (
    event  integer not null,
    reason text    not null,
    since  integer not null,
    primary key (event, reason)
) without rowid;

-- The newest version of each replaceable or addressable event (NIP-01), and up to which date versions were deleted
-- (NIP-09). `key` is 64 bits of the hash of author, kind and d tag.
create table slot (
    key           integer primary key,
    event         integer,
    created_at    integer,
    id            blob,
    deleted_until integer
);

-- What authors deleted by id, stored here or not: 64 bits of the hash of author and id.
create table deletion (
    key integer primary key
);

-- The dictionaries that payloads are compressed with, numbered from 1.
create table dictionary (
    n    integer primary key,
    data blob    not null
);

create table sighting (
    event   integer not null,
    relay   integer not null,
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

-- `event_tags`, `event_tagvalues` and `event_content` are functions of `brotr sql`; any other shell has them not, and
-- can read `event_heads`.
create view events as
select event.id, author.pubkey, event.created_at, event.kind, event_tags(event.payload) as tags,
       event_tagvalues(event.payload) as tagvalues, event_content(event.payload) as content, event.sig
  from event join author on author.k = event.author;

create view event_heads as
select event.id, author.pubkey, event.created_at, event.kind, event.sig
  from event join author on author.k = event.author;

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
select events, pubkeys, (select count(*) from kind where events > 0) as kinds,
       (select min(created_at) from event) as first_created_at, (select max(created_at) from event) as last_created_at,
       sightings
  from archive;

create view relays_statistics as
select url as relay_url, network, discovered_at, events, first_seen_at, last_seen_at from relay;

create view kind_counts_total as select kind, events, pubkeys from kind where events > 0;

create view pubkey_counts_total as select pubkey, events, kinds from author where events > 0;
