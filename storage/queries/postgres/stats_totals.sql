-- Returns the totals of the archive.
select events, pubkeys, sightings
from archive
