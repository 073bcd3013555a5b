-- Counts events of kinds, hidden ones too, from the totals.
-- Index: the primary key of kind.
select coalesce(sum(events), 0)::bigint
from kind
where kind = any($1)
