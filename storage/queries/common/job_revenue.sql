-- Counts what was asked and what it brought, by kind. All jobs and payments are read.
select kind,
       cast(sum(jobs) as bigint),
       cast(sum(answered) as bigint),
       cast(sum(failed) as bigint),
       cast(sum(unpaid) as bigint),
       cast(sum(payments) as bigint),
       cast(sum(msat) as bigint)
from (
  select kind,
         1 as jobs,
         case when status = 'answered' then 1 else 0 end as answered,
         case when status = 'failed' then 1 else 0 end as failed,
         case when status = 'unpaid' then 1 else 0 end as unpaid,
         0 as payments,
         0 as msat
  from job
  union all
  select kind, 0, 0, 0, 0, 1, msat from payment
) asked
group by kind
order by kind
