-- Removes the terms of events.
-- Index: the primary key of search.
delete from search
where event = any($1)
