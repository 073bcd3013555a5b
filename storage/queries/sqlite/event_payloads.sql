-- Returns the payloads of the last events, to train a dictionary.
-- Index: the primary key of event.
select payload
from event
order by k desc
limit ?1
