-- Returns a block of a run.
-- Index: the primary key of block.
select data
from block
where k = ?1
