-- Writes a block anew, without removed entries.
-- Index: the primary key of block.
update block
set data = ?2
where k = ?1
