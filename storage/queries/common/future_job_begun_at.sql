-- Moves job.begun_at back to time 1 where it lies after that. The table is read whole.
update job
set begun_at = $1
where begun_at > $1
