-- Returns the version of the index of texts.
select search
from archive
