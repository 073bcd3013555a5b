-- Ends a job that is paid for.
-- Index: the primary key of job.
update job
set status = 'answered', ended_at = $2
where id = $1
