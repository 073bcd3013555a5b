-- Takes the job whose turn it is: of the customers with the fewest jobs in work, the one with the lowest rank. A second taker
-- takes the next one. Both statuses are named so that the index of open jobs is used: ended jobs are many.
-- Indexes: job_open, job_by_customer.
update job
set status = 'working', begun_at = $1
where id = (
  select id
  from job j
  where status in ('received', 'working') and status = 'received' and coalesce(begin_at, 0) <= $1
  order by
    (select count(*) from job w where w.customer = j.customer and w.status = 'working'),
    rank,
    received_at,
    id
  limit 1
)
  and status = 'received'
returning id, kind, customer, request, received_at, status, waits_for, rank
