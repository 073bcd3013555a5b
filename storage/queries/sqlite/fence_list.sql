-- Returns the fences of a run, which say where each block begins.
-- Index: the primary key of fence.
select data
from fence
where k >= ?1
  and k < ?2
order by k
