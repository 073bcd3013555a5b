-- Returns the total of an author, and what waits to be added to it.
-- Indexes: the primary keys of author and recent_author.
select events, (select r.events from recent_author r where r.author = author.k)
from author
where k = ?1
