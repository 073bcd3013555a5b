-- Moves coverage.until back to time 1 where it lies after that. The table is read whole.
update coverage
set until = $1
where until > $1
