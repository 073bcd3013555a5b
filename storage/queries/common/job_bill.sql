-- Holds the result of a job in work back until 2 millisats are paid.
-- Index: the primary key of job.
update job
set status = 'unpaid', price = $2, answer = $3
where id = $1 and status = 'working'
