-- Returns the number that changes with every change of the runs.
select runs
from archive
