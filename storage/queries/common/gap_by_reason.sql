-- Counts gaps by reason. All of gap is read: some rows for each relay.
select reason, count(distinct relay), count(*)
from gap
group by reason
order by 2 desc, 1
