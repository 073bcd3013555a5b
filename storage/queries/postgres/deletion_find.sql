-- Returns which of these keys were deleted.
-- Index: the primary key of deletion.
select key
from deletion
where key = any($1)
