-- Returns the number of the last author.
-- Index: the primary key of author.
select coalesce(max(k), 0)
from author
