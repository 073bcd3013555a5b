-- Returns the status and price of a job, and what was paid for it.
-- Indexes: the primary key of job, payment_by_job.
select status, price, (select cast(sum(msat) as bigint) from payment where payment.job = $1)
from job
where id = $1
