-- Removes invoices that expired before a time and whose job is gone. All invoices are read.
-- Index: the primary key of job.
delete from invoice
where expires_at < $1
  and not exists (select 1 from job where job.id = invoice.job)
