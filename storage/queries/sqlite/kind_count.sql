-- Returns the number of events of a kind.
-- Index: the primary key of kind.
select coalesce(sum(events), 0)
from kind
where kind = ?1
