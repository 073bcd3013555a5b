-- Returns authors who asked to vanish (NIP-62), and until when.
-- Indexes: author_vanished, the unique index of author.pubkey.
select pubkey, vanished_until
from author
where vanished_until is not null
  and pubkey = any($1)
