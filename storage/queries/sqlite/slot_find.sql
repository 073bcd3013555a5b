-- Returns the newest event of a replaceable slot.
-- Index: the primary key of slot.
select event, created_at, id, deleted_until
from slot
where key = ?1
