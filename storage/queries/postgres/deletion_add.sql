-- Records what deletions name.
-- Index: the primary key of deletion.
insert into deletion (key)
select unnest($1::bigint[])
on conflict do nothing
