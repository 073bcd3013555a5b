-- Removes what was queued before a time, sent or not. All of outbox is read.
delete from outbox
where queued_at < $1
