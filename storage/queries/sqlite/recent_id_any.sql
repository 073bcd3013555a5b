-- Returns a row if any id is recent.
select 1
from recent_id
limit 1
