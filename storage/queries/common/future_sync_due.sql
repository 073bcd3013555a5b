-- Moves due times back to now (1): those later than 2, or set by a clock that was ahead of 3.
update relay
set sync_due_at = $1
where sync_due_at > $2 and sync_due_at < 9223372036854775807
   or sync_due_at > $1
      and k in (
        select relay from coverage where proven_at > $3
        union
        select relay from gap where tried_at > $3
      )
