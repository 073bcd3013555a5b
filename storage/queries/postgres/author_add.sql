-- Adds authors that are not known.
-- Index: the unique index of author.pubkey.
insert into author (pubkey)
select key
from unnest($1::bytea[]) key
where not exists (select 1 from author where pubkey = key)
on conflict (pubkey) do nothing
returning pubkey, k
