-- Adds a recent date.
-- Index: the primary key of recent_time.
insert into recent_time (created_at, id, event)
values (?1, ?2, ?3)
