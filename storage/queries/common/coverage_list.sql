-- Lists what is proven of relay 1, or of all where that is '', in order of relay, filter and time.
-- Indexes: the unique index of relay.url, the primary key of coverage.
select relay.url, filter, since, until, method, proven_at
from coverage
join relay on relay.k = coverage.relay
where $1 = '' or relay.url = $1
order by relay.url, filter, since
