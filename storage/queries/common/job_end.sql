-- Ends a job in work with status 2 and answer 4.
-- Index: the primary key of job.
update job
set status = $2, ended_at = $3, answer = $4
where id = $1 and status = 'working'
