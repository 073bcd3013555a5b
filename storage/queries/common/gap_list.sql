-- Lists what could not be proven of relay 1, or of all where that is '', in order of relay, filter and time.
-- Indexes: the unique index of relay.url, the primary key of gap.
select relay.url, filter, since, until, reason, count, tried_at
from gap
join relay on relay.k = gap.relay
where $1 = '' or relay.url = $1
order by relay.url, filter, since
