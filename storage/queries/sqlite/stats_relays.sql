-- Counts relays by state. All relays are read.
select state, count(*)
from relay
group by state
