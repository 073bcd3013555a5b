-- Releases what holder 2 has leased for its check: relay 1, or all relays where that is ''.
-- Index: the unique index of relay.url; without a URL, all relays are read.
update relay
set check_lease = 0
where check_by = $2 and check_lease > 0 and ($1 = '' or url = $1)
