-- Returns which of these events relay 2 was seen to hold. The sum keeps the planner from the index by relay, which would read
-- all sets of the relay.
-- Index: sighting_by_event.
select k
from (select events from sighting where events && $1::bigint[] and relay + 0 = $2) s, unnest(events) k
where k = any($1)
