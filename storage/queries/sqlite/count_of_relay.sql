-- Returns the number of events that a relay was seen to hold.
-- Index: the primary key of relay.
select events
from relay
where k = ?1
