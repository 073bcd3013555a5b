-- Returns a row if an event is hidden at a time.
-- Index: the primary key of hidden.
select 1
from hidden
where event = ?1
  and since <= ?2
