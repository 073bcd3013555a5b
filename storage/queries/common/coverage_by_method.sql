-- Counts claims by method. All of coverage is read: some rows for each relay.
select method, count(distinct relay), count(*)
from coverage
group by method
order by 2 desc, 1
