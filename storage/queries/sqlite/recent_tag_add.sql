-- Adds a recent tag.
-- Index: the primary key of recent_tag.
insert into recent_tag (key, created_at, event)
values (?1, ?2, ?3)
