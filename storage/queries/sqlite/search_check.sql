-- Returns a row if an event has terms.
-- Index: search (FTS5).
select 1
from search
where search match ?1
  and rowid = ?2
