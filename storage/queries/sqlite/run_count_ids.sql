-- Counts the entries of the index of ids.
select (select count(*) from recent_id) + coalesce(sum(entries), 0)
from run
where kind = 0
  and state = 'live'
