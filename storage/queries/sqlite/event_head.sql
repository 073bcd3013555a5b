-- Returns what filters ask for of an event, if it lies in a span of time.
-- Index: the primary key of event.
select k, created_at, id, author, kind
from event
where k = ?1
  and created_at >= ?2
  and created_at <= ?3
