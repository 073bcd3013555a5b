-- Adds a recent id.
-- Index: the primary key of recent_id.
insert into recent_id (id, event) values (?1, ?2)
