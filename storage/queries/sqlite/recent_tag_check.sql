-- Returns a row if a recent event has a tag.
-- Index: the primary key of recent_tag.
select 1
from recent_tag
where key = ?1
  and created_at = ?2
  and event = ?3
