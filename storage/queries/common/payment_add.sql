-- Keeps a payment from source 1 for job 2. Each source counts once.
-- Indexes: the primary keys of payment and job.
insert into payment (source, job, customer, kind, msat, paid_at)
select $1, id, customer, kind, cast($3 as bigint), cast($4 as bigint)
from job
where id = $2
on conflict (source) do nothing
