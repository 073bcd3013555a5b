-- Returns one relay.
-- Index: the unique index of relay.url.
select url, network, state, discovered_at, checked_at, failures, events
from relay
where url = $1
