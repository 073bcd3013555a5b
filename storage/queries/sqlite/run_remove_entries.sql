-- Takes removed entries off the number of a run.
-- Index: the primary key of run.
update run
set entries = entries - ?2
where n = ?1
