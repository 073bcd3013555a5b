-- Lists relays by URL, or by the due time that argument 8 names (check or sync).
-- Arguments: 1 the URL after which the page begins, 2 networks (empty for all), 3 and 4 the times at which a check and a
-- synchronization must be due, 5 the most rows, 6 states (empty for all), 7 a part of the URL, with ! before ! % and _.
-- Index: the unique index of relay.url; with a due time, all relays are read.
select url, network, state, discovered_at, checked_at, failures, events
from relay
where url > $1
  and ($2 = '[]' or network in (select value from json_each($2)))
  and ($6 = '[]' or state in (select value from json_each($6)))
  and check_due_at <= $3
  and sync_due_at <= $4
  and url like '%' || $7 || '%' escape '!'
order by case $8 when 'check' then check_due_at when 'sync' then sync_due_at else 0 end, url
limit $5
