-- Moves relay.last_seen_at back to time 1 where it lies after that. The table is read whole.
update relay
set last_seen_at = $1
where last_seen_at > $1
