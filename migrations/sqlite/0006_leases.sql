-- Who is at a relay, and until when others on the same database leave it alone.
alter table relay add column check_lease integer not null default 0;
alter table relay add column check_by integer not null default 0;
alter table relay add column sync_lease integer not null default 0;
alter table relay add column sync_by integer not null default 0;
-- The same of what is done by one at a time.
create table lease (
    name   text primary key,
    holder integer not null,
    until  integer not null
);
