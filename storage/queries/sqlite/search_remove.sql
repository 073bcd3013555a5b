-- Removes the terms of an event.
-- Index: search (FTS5).
delete from search
where rowid = ?1
