-- Returns one job.
-- Index: the primary key of job.
select id, kind, customer, request, received_at, status, waits_for, rank
from job
where id = $1
