-- Adds a recent author or kind.
-- Index: the primary key of recent_head.
insert into recent_head (key, created_at, event)
values (?1, ?2, ?3)
