-- Returns what the archive keeps.
select profile
from archive
