-- Removes what waits for relay 1 in slot 2 and is another event than 3: a newer version takes its place.
-- Index: outbox_due.
delete from outbox
where relay = $1 and slot = $2 and due_at is not null and event <> $3
