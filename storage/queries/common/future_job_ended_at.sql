-- Moves job.ended_at back to time 1 where it lies after that. The table is read whole.
update job
set ended_at = $1
where ended_at > $1
