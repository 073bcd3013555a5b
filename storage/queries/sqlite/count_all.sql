-- Returns the number of events.
select events
from archive
