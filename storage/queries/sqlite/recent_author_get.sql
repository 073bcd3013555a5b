-- Returns what waits to be added to the total of an author.
-- Index: the primary key of recent_author.
select author, events, kinds
from recent_author
where author = ?1
