-- Puts a job in work back, to begin at time 2 or when job 3 ends.
-- Index: the primary key of job.
update job
set status = 'received', begin_at = $2, waits_for = $3
where id = $1 and status = 'working'
