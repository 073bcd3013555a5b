-- Counts other jobs of kinds 5 that customer 1 got for nothing, received since 2. Of those in work, those received before time 3
-- and job 4 count.
-- Index: job_lately.
select count(*)
from job
where customer = $1
  and received_at >= $2
  and price is null
  and id <> $4
  and (status = 'answered' or status = 'working' and (received_at < $3 or received_at = $3 and id < $4))
  and kind in (select value from json_each($5))
