-- Returns the events with terms, in no order.
-- Index: search (FTS5).
select rowid
from search
where search match ?1
