-- Returns the events that deletions name, but those that cannot be deleted.
-- Index: the primary key of event.
select id, k, author
from event
where id = any($1)
  and kind not in (5, 62)
