-- The indexes of events become sorted runs (docs/DATABASE.md, "Indexes in runs"): blocks of entries that only the program
-- reads. What they replace (table tag, and the indexes of event) is read into runs, and dropped, when the archive is opened.

-- A run. `kind` 0: events by id; 1: by tag; 2: by author and kind, and by kind; 3: by time. It covers the events numbered
-- `first` to `last`.
create table run (
    n       integer primary key autoincrement,
    kind    integer not null,
    level   integer not null,
    first   integer not null,
    last    integer not null,
    blocks  integer not null default 0,
    entries integer not null default 0,
    -- building, live, or retired: merged into another, and to be freed.
    state   text    not null default 'building'
);

-- Block number b of run n is row n * 2^32 + b; what is kept in memory of it and the 31 that follow is the row of the
-- same number in `fence`.
create table block (
    k    integer primary key,
    data blob not null
);
create table fence (
    k    integer primary key,
    data blob not null
);

-- Entries that are not in a run yet.
create table recent_id (
    id    blob    primary key,
    event integer not null
) without rowid;
create table recent_tag (
    key        integer not null,
    created_at integer not null,
    event      integer not null,
    primary key (key, created_at desc, event)
) without rowid;
create table recent_head (
    key        integer not null,
    created_at integer not null,
    event      integer not null,
    primary key (key, created_at desc, event)
) without rowid;
create table recent_time (
    created_at integer not null,
    id         blob    not null,
    event      integer not null,
    primary key (created_at desc, id)
) without rowid;

-- Changes whenever other runs are to be read.
alter table archive add column runs integer not null default 0;

-- The dates of the oldest and the newest event.
alter table archive add column first_created_at integer;
alter table archive add column last_created_at integer;
update archive set first_created_at = (select min(created_at) from event), last_created_at = (select max(created_at) from event);

drop view events_statistics;
create view events_statistics as
select events, pubkeys, (select count(*) from kind where events > 0) as kinds, first_created_at, last_created_at, sightings
  from archive;

-- What statements that read all events need most, in the order of arrival: a fifteenth of the table.
create index event_by_arrival on event (k, created_at, kind, author);
