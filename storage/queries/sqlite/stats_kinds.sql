-- Returns events by kind, from the totals.
select kind, events
from kind_counts_total
