-- Returns what the archive keeps, and the version of its index of texts.
select profile, search
from archive
