-- Ends a job that waits for money and has no invoice that can still be paid at time 2.
-- Indexes: the primary key of job, invoice_by_job.
update job
set status = 'failed', ended_at = $2
where id = $1
  and status = 'unpaid'
  and not exists (select 1 from invoice where invoice.job = $1 and expires_at >= $2)
