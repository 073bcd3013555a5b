-- Returns customers who were answered. All jobs are read, those of eight days.
select distinct customer
from job
where status = 'answered'
limit $1
