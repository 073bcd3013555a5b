-- Claims relays whose check is due and that nobody has leased, those due longest first.
-- Leases end by the clock of the database; what is due is decided by the caller, who set the times.
-- Arguments: 1 the URL after which the page begins, 2 networks (empty for all), 3 and 4 the times at which a check and a
-- synchronization must be due, 5 the most rows, 6 states (empty for all), 7 a part of the URL, with ! before ! % and _,
-- 8 the holder, 9 the length of the lease in seconds. Claims of others are skipped, not waited for.
-- All relays are read: the claim sorts what is due, and a claim takes many at once.
update relay
set check_lease = cast(floor(extract(epoch from now())) as bigint) + $9, check_by = $8
where k in (
  select k
  from relay
  where url > $1
    and (cardinality(cast($2 as text[])) = 0 or network = any($2))
    and (cardinality(cast($6 as text[])) = 0 or state = any($6))
    and check_due_at <= $3
    and sync_due_at <= $4
    and url like '%' || $7 || '%' escape '!'
    and check_lease <= cast(floor(extract(epoch from now())) as bigint)
  order by check_due_at, url
  limit $5
  for no key update skip locked
)
returning url, network, state, discovered_at, checked_at, failures, events
