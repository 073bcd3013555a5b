-- Counts the recent events.
select count(*)
from recent_id
