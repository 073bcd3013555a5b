-- Returns the job that an invoice with hash 1, or feedback 2, asks money for.
-- Indexes: the primary key of invoice, invoice_by_feedback.
select job from invoice where hash = $1
union
select job from invoice where feedback = $2
limit 1
