-- Lists authors who asked to vanish (NIP-62), and until when.
-- Index: author_vanished.
select pubkey, vanished_until
from author
where vanished_until is not null
