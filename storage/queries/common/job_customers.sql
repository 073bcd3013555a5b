-- Lists who asked for jobs, those who asked last first. What was paid is kept longer than jobs. All jobs and payments are read.
select customer,
       cast(sum(jobs) as bigint),
       cast(sum(failed) as bigint),
       cast(sum(unpaid) as bigint),
       cast(sum(msat) as bigint),
       max(at)
from (
  select customer,
         1 as jobs,
         case when status = 'failed' then 1 else 0 end as failed,
         case when status = 'unpaid' then 1 else 0 end as unpaid,
         0 as msat,
         received_at as at
  from job
  union all
  select customer, 0, 0, 0, msat, paid_at from payment
) asked
group by customer
order by max(at) desc, customer
limit $1
