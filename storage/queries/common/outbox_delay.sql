-- Delays all that waits for relay 1 to time 2. It was not tried, and no attempt is counted.
-- Index: outbox_due.
update outbox
set due_at = $2
where relay = $1 and due_at < $2
