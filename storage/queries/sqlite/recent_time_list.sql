-- Lists the recent dates.
select created_at, id, event
from recent_time
