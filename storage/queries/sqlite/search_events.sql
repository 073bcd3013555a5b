-- Lists events with text, in order of their numbers. All events are read.
select k, kind, payload
from event
where kind in (0, 1, 30023)
order by k
