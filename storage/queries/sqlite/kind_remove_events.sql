-- Takes removed events off the total of a kind.
-- Index: the primary key of kind.
update kind
set events = events - ?2, pubkeys = pubkeys - ?3
where kind = ?1
