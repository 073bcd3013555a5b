-- Moves outbox.queued_at back to time 1 where it lies after that. The table is read whole.
update outbox
set queued_at = $1
where queued_at > $1
