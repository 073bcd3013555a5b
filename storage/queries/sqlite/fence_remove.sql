-- Removes fences of a retired run.
-- Index: the primary key of fence.
delete from fence
where k >= ?1
  and k < ?2
