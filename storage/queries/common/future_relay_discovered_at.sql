-- Moves relay.discovered_at back to time 1 where it lies after that. The table is read whole.
update relay
set discovered_at = $1
where discovered_at > $1
