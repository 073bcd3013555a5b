-- Keeps an invoice.
-- Index: the primary key of invoice.
insert into invoice (hash, job, msat, bolt11, feedback, expires_at)
values ($1, $2, $3, $4, $5, $6)
