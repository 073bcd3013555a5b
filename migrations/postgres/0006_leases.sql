-- Who is at a relay, and until when others on the same database leave it alone.
alter table relay add column check_lease bigint not null default 0;
alter table relay add column check_by bigint not null default 0;
alter table relay add column sync_lease bigint not null default 0;
alter table relay add column sync_by bigint not null default 0;
-- The same of what is done by one at a time.
create table lease (
    name   text primary key,
    holder bigint not null,
    until  bigint not null
);
