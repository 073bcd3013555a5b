-- Returns the number of an author.
-- Index: the unique index of author.pubkey.
select k
from author
where pubkey = ?1
