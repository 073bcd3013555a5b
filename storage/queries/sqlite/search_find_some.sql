-- Returns the events with terms, at most so many.
-- Index: search (FTS5).
select rowid
from search
where search match ?1
order by rowid
limit ?2
