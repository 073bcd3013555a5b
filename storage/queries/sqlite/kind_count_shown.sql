-- Returns the number of events of a kind that are not hidden for good.
-- Index: the primary key of kind.
select coalesce(sum(events - hidden), 0)
from kind
where kind = ?1
