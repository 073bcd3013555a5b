-- Removes a recent tag.
-- Index: the primary key of recent_tag.
delete from recent_tag
where key = ?1
  and created_at = ?2
  and event = ?3
