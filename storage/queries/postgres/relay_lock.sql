-- Locks all relays, or those that holder 1 has claimed, in the order of their numbers: two transactions that lock the same
-- rows in different orders would wait for each other.
-- Index: the primary key of relay; all relays are read.
select k
from relay
where cast($1 as bigint) is null or check_by = $1 or sync_by = $1
order by k
for no key update
