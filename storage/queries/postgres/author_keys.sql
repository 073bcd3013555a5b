-- Returns the numbers of authors.
-- Index: the unique index of author.pubkey.
select k
from author
where pubkey = any($1)
