-- Returns a row if an event is hidden for good.
-- Index: the primary key of hidden.
select 1
from hidden
where event = ?1
  and since = 0
limit 1
