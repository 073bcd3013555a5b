-- Returns author and kind of an event, if it lies in a span of time.
-- Index: the primary key of event.
select author, kind
from event
where k = ?1
  and created_at >= ?2
  and created_at <= ?3
