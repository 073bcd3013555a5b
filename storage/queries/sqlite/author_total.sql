-- Returns the number of an author and how many events they have: the total, and what waits to be added to it.
-- Indexes: the unique index of author.pubkey, the primary key of recent_author.
select k, events + coalesce((select r.events from recent_author r where r.author = author.k), 0)
from author
where pubkey = ?1
