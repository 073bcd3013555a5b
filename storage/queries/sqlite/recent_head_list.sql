-- Lists the recent authors and kinds.
select key, created_at, event
from recent_head
