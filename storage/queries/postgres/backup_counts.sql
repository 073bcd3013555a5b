-- Counts what a restored database holds. Relays are counted one by one.
select events, sightings, (select count(*) from relay)
from archive
