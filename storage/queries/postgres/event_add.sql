-- Stores events that are not known, and returns the ids of those that were new. tagkeys is the text of an array, since an array
-- of arrays must have rows of one length.
-- Index: the primary key of event.
insert into event (k, created_at, author, kind, id, sig, tags, content, tagkeys)
select k, created_at, author, kind, id, sig, tags, content, tagkeys::bigint[]
from unnest(
  $1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::bytea[], $6::bytea[], $7::bytea[], $8::text[], $9::text[]
) as row (k, created_at, author, kind, id, sig, tags, content, tagkeys)
on conflict do nothing
returning id
