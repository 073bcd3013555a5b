-- Lists recent tags with keys from one to another, both inclusive.
-- Index: the primary key of recent_tag.
select key, created_at, event
from recent_tag
where key >= ?1
  and key <= ?2
