-- Locks relays in the order of their numbers.
-- Index: the primary key of relay.
select k
from relay
where k = any($1)
order by k for no key update
