-- Records that an author asked to vanish (NIP-62), until a time.
-- Index: the unique index of author.pubkey.
update author
set vanished_until = max(coalesce(vanished_until, 0), ?2)
where pubkey = ?1
