-- Moves gap.until back to time 1 where it lies after that. The table is read whole.
update gap
set until = $1
where until > $1
