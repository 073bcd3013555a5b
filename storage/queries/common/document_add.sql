-- Adds a document that is not known.
-- Index: the unique index of document (id, type).
insert into document (id, type, data)
values ($1, $2, $3)
on conflict (id, type) do nothing
