-- Records that the agent with a key writes to the archive.
-- Index: the primary key of agent.
insert into agent (pubkey, since, seen_at)
values ($1, $2, $2)
on conflict (pubkey) do update
set seen_at = excluded.seen_at
