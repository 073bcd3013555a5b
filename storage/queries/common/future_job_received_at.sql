-- Moves job.received_at back to time 1 where it lies after that. The table is read whole.
update job
set received_at = $1
where received_at > $1
