-- Records that an author asked to vanish, until a time.
-- Index: the unique index of author.pubkey.
update author
set vanished_until = greatest(vanished_until, $2)
where pubkey = $1
