-- Lists the recent tags.
select key, created_at, event
from recent_tag
