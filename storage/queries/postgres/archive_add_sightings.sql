-- Adds new sightings to the total of the archive.
update archive set sightings = sightings + $1
