-- Returns the newest event of a replaceable slot, if it has any.
-- Index: the primary key of slot.
select event
from slot
where key = ?1
