-- Takes a run out of its index: what was merged is in another one.
-- Index: the primary key of run.
update run
set state = 'retired'
where n = ?1
