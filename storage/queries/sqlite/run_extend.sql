-- Records that blocks and entries were added to a run.
-- Index: the primary key of run.
update run
set blocks = ?2, entries = entries + ?3
where n = ?1
