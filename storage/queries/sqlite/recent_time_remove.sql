-- Removes a recent date.
-- Index: the primary key of recent_time.
delete from recent_time
where created_at = ?1
  and id = ?2
