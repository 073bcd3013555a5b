-- Indexes the terms of an event.
-- Index: search (FTS5).
insert into search (rowid, text) values (?1, ?2)
