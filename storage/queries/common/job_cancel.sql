-- Ends a job without an answer, if customer 2 asked for it and it has not ended.
-- Index: the primary key of job.
update job
set status = 'cancelled', ended_at = $3
where id = $1 and customer = $2 and status in ('received', 'working', 'unpaid')
