-- Returns a row if anything was ever deleted.
select 1
from deletion
limit 1
