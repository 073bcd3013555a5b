-- Returns the newest event of replaceable slots.
-- Index: the primary key of slot.
select key, event, created_at, id, deleted_until
from slot
where key = any($1)
