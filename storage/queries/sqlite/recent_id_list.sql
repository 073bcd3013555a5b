-- Lists the recent ids.
select id, event
from recent_id
