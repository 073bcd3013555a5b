-- Lists the checks since a time that found a relay down, newest first, with their failure codes.
-- Index: the primary key of visit.
select checked_at, failure
from relay_checks
where relay_url = $1 and checked_at >= $2 and up = 0
order by checked_at desc
limit $3
