-- Returns the numbers of relays.
-- Index: the unique index of relay.url.
select k
from relay
where url = any($1)
