-- Acquires or renews the lease named 1 for holder 2, for 3 seconds, unless another holder has it.
-- Index: the primary key of lease.
insert into lease (name, holder, until)
values ($1, $2, unixepoch() + $3)
on conflict (name) do update
set holder = excluded.holder, until = excluded.until
where lease.holder = excluded.holder or lease.until <= unixepoch()
