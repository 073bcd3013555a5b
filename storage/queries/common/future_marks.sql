-- Returns a row if a clock that was ahead of time 1 left anything, or something is due later than time 2: in tables that are
-- small, which are read whole.
select 1
from (
  select 1 as one
  from relay
  where checked_at > $1 or discovered_at > $1 or last_seen_at > $1 or check_due_at > $2
     or sync_due_at > $2 and sync_due_at < 9223372036854775807
  union all
  select 1 from coverage where until > $1 or proven_at > $1
  union all
  select 1 from gap where until > $1 or tried_at > $1
) marks
limit 1
