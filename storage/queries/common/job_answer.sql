-- Returns the answer to a job that ended with a result.
-- Index: the primary key of job.
select answer
from job
where id = $1 and status = 'answered'
