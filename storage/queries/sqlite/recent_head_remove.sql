-- Removes a recent author or kind.
-- Index: the primary key of recent_head.
delete from recent_head
where key = ?1
  and created_at = ?2
  and event = ?3
