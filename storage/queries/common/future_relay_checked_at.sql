-- Moves relay.checked_at back to time 1 where it lies after that. The table is read whole.
update relay
set checked_at = $1
where checked_at > $1
