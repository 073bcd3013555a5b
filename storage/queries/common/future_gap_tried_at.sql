-- Moves gap.tried_at back to time 1 where it lies after that. The table is read whole.
update gap
set tried_at = $1
where tried_at > $1
