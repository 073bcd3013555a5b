-- Returns a row if a key was deleted.
-- Index: the primary key of deletion.
select 1
from deletion
where key = ?1
