-- Lets jobs begin that waited for one.
-- Index: job_waiting.
update job
set begin_at = null
where waits_for = $1 and status = 'received'
