-- Makes a run part of its index.
-- Index: the primary key of run.
update run
set state = 'live'
where n = ?1
