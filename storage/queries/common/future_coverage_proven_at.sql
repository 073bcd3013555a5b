-- Moves coverage.proven_at back to time 1 where it lies after that. The table is read whole.
update coverage
set proven_at = $1
where proven_at > $1
