-- Locks a job's row, so that two payments for it are added up one after the other.
-- Index: the primary key of job.
update job
set price = price
where id = $1
