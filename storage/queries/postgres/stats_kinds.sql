-- Returns events by kind, from the totals.
select kind::bigint, events
from kind_counts_total
