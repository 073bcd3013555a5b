-- Returns a run whose blocks are to be removed.
select n, blocks
from run
where state = 'retired'
limit 1
