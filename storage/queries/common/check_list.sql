-- Lists the checks of a relay since a time, newest first.
-- Index: the primary key of visit.
select checked_at, up, rtt_open_ms, rtt_read_ms, rtt_write_ms
from relay_checks
where relay_url = $1 and checked_at >= $2
order by checked_at desc
limit $3
