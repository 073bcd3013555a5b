-- Lists recent authors and kinds with keys from one to another, both inclusive.
-- Index: the primary key of recent_head.
select key, created_at, event
from recent_head
where key >= ?1
  and key <= ?2
