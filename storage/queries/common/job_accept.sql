-- Keeps a job request. Its rank is the number of requests of the same customer in ten minutes, and a thousand more if they were
-- never answered.
-- Indexes: the primary key of job, job_lately, job_by_customer.
insert into job (id, kind, customer, request, received_at, status, rank)
select
  $1, cast($2 as bigint), $3, $4, cast($5 as bigint), $6,
  (select count(*) from job where customer = $3 and received_at > cast($5 as bigint) - 600)
    + case when exists (select 1 from job where customer = $3 and status = 'answered') then 0 else 1000 end
where 1 = 1
on conflict (id) do nothing
