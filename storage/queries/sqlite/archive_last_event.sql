-- Returns the number of the last event.
select last_k
from archive
