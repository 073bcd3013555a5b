-- Sets when the check of a relay is due.
-- Index: the unique index of relay.url.
update relay
set check_due_at = $2
where url = $1
