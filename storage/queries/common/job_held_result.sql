-- Returns the result of a job that is held back, or was until it lapsed.
-- Index: the primary key of job.
select answer
from job
where id = $1 and price is not null and status in ('unpaid', 'failed')
