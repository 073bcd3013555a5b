-- Lists the newest jobs, of status 1 unless that is '', with the answers of those that failed.
-- Index: job_by_time.
select id, kind, customer, request, received_at, status, waits_for, rank, begun_at, ended_at, case when status = 'failed' then answer end
from job
where $1 = '' or status = $1
order by received_at desc, id
limit $2
