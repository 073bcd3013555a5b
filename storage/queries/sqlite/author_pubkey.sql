-- Returns the public key of an author.
-- Index: the primary key of author.
select pubkey
from author
where k = ?1
