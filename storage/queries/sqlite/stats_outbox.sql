-- Counts events that wait to be sent.
-- Index: outbox_due.
select count(*)
from outbox
where due_at is not null
