-- Records how a try to send event 1 to relay 2 ended.
-- Index: the unique index of outbox (event, relay).
update outbox
set sent_at = $3, trouble = $4, due_at = $5, attempts = attempts + 1
where event = $1 and relay = $2
