-- Puts back jobs in work that were begun by a time. Both statuses are named so that the index of open jobs is used.
-- Index: job_open.
update job
set status = 'received'
where status in ('received', 'working') and status = 'working' and coalesce(begun_at, 0) <= $1
