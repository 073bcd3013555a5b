-- Returns the numbers of authors by key.
-- Index: the unique index of author.pubkey.
select pubkey, k
from author
where pubkey = any($1)
