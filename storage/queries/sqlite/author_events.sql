-- Returns the number of events of an author, with what waits to be added to it.
-- Indexes: the primary keys of author and recent_author.
select a.events + coalesce((select r.events from recent_author r where r.author = a.k), 0)
from author a
where a.k = ?1
