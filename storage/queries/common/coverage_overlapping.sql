-- Returns claims of relay $1 under filter $2 that begin by $3 and end at or after $4.
-- Index: the primary key of coverage.
select since, until
from coverage
where relay = $1 and filter = $2 and since <= $3 and until >= $4
