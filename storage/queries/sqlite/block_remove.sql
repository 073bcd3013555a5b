-- Removes blocks of a retired run.
-- Index: the primary key of block.
delete from block
where k >= ?1
  and k < ?2
