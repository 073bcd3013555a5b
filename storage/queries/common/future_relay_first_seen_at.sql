-- Moves relay.first_seen_at back to time 1 where it lies after that. The table is read whole.
update relay
set first_seen_at = $1
where first_seen_at > $1
