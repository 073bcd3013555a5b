-- Moves due times back to now (1): those later than 2, or set by a clock that was ahead of 3.
update relay
set check_due_at = $1
where check_due_at > $2 or check_due_at > $1 and checked_at > $3
