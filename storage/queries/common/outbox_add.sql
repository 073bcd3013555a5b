-- Queues an event for a relay, due at once.
-- Index: the unique index of outbox (event, relay).
insert into outbox (event, relay, body, slot, queued_at, due_at, rank)
values ($1, $2, $3, $4, $5, $5, $6)
on conflict (event, relay) do nothing
