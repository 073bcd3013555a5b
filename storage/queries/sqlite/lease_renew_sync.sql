-- Renews the lease for the synchronization of relay 1, if holder 2 still has it, for 3 more seconds.
-- Index: the unique index of relay.url.
update relay
set sync_lease = unixepoch() + $3
where url = $1 and sync_by = $2 and sync_lease > 0
