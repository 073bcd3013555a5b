-- Removes a recent id.
-- Index: the primary key of recent_id.
delete from recent_id
where id = ?1
  and event = ?2
