-- Counts jobs by status. All jobs are read, those of eight days.
select status, count(*)
from job
group by status
