-- Counts what a backup holds, events by their rows as well. Relays and events are counted one by one.
select events, sightings, (select count(*) from relay), (select count(*) from event)
from archive
