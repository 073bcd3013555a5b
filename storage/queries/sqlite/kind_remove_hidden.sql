-- Takes removed events that were hidden off the total of a kind.
-- Index: the primary key of kind.
update kind
set hidden = hidden - ?2
where kind = ?1
