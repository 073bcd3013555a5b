-- Removes a retired run.
-- Index: the primary key of run.
delete from run
where n = ?1
