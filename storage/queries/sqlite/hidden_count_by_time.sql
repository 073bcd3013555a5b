-- Counts events of kinds that are hidden from a time on: those that expired by now.
-- Index: hidden_by_time.
select count(distinct h.event)
from hidden h
join event on event.k = h.event
where h.since <> 0
  and h.since <= ?1
  and event.kind in (select value from json_each(?2))
  and not exists (select 1 from hidden p where p.event = h.event and p.since = 0)
