-- Lists invoices of jobs that wait for money, after hash 1.
-- Indexes: job_unpaid, invoice_by_job.
select invoice.hash, invoice.job, invoice.msat, invoice.bolt11, invoice.feedback, invoice.expires_at
from invoice
join job on job.id = invoice.job
where job.status = 'unpaid' and invoice.hash > $1
order by invoice.hash
limit $2
