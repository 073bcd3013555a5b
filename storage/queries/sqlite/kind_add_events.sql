-- Adds new events to the total of a kind.
-- Index: the primary key of kind.
insert into kind (kind, events, pubkeys)
values (?1, ?2, ?3)
on conflict (kind) do update set events = events + excluded.events, pubkeys = pubkeys + excluded.pubkeys
