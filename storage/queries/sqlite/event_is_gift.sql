-- Returns a row if an event is a gift wrap (NIP-59).
-- Index: the primary key of event.
select 1
from event
where k = ?1
  and kind = 1059
