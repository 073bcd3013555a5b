-- Releases what holder 2 has leased for its synchronization: relay 1, or all relays where that is ''.
-- Index: the unique index of relay.url; without a URL, all relays are read.
update relay
set sync_lease = 0
where sync_by = $2 and sync_lease > 0 and ($1 = '' or url = $1)
