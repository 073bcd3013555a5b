-- Lists the runs in a state. All runs are read: a handful for each index.
select n, kind, level, first, last, blocks
from run
where state = ?1
order by first, n
