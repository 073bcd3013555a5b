-- Moves visit.at back to time 1 where it lies after that. The table is read whole.
update visit
set at = $1
where at > $1
