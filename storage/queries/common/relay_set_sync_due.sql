-- Sets when the synchronization of a relay is due.
-- Index: the unique index of relay.url.
update relay
set sync_due_at = $2
where url = $1
