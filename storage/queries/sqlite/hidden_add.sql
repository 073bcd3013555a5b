-- Hides an event, from a time on.
-- Index: the primary key of hidden.
insert or ignore into hidden (event, reason, since)
values (?1, ?2, ?3)
