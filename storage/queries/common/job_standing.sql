-- Returns the open jobs of a customer, whether they were ever answered, and the waiting jobs of all newcomers.
-- Indexes: job_by_customer, job_newcomers.
select
  (select count(*) from job where customer = $1 and status in ('received', 'working', 'unpaid')),
  (select count(*) from (select 1 as one from job where customer = $1 and status = 'answered' limit 1) answered),
  (select count(*) from job where rank >= 1000 and status = 'received')
