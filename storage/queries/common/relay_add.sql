-- Adds a relay that is not known, due at once for everything.
-- The condition comes before the conflict clause: on PostgreSQL every insert takes a number from the sequence, even one that
-- finds the relay there.
-- Index: the unique index of relay.url.
insert into relay (url, network, discovered_at, check_due_at, sync_due_at)
select $1, $2, cast($3 as bigint), cast($3 as bigint), cast($3 as bigint)
where not exists (select 1 from relay where url = $1)
on conflict (url) do nothing
