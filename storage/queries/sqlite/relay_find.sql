-- Returns the number of a relay.
-- Index: the unique index of relay.url.
select k
from relay
where url = ?1
