-- Adds a hidden event to the total of a kind.
-- Index: the primary key of kind.
update kind
set hidden = hidden + 1
where kind = ?1
