-- Returns a row if an event is hidden at a time for another reason than that a newer version replaced it.
-- Index: the primary key of hidden.
select 1
from hidden
where event = ?1
  and since <= ?2
  and reason <> 'replaced'
