-- Lists what waits to be added, from an author on.
-- Index: the primary key of recent_author.
select author, events, kinds
from recent_author
where author >= ?1
order by author
limit ?2
