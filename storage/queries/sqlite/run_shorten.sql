-- Records how many blocks of a retired run are left.
-- Index: the primary key of run.
update run
set blocks = ?2
where n = ?1
