-- Moves due times back to now (1): those later than 2, or set by a clock that was ahead of 3.
update outbox
set due_at = $1
where due_at > $2 or due_at > $1 and queued_at > $3
