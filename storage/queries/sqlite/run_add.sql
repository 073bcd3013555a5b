-- Begins a run.
insert into run (kind, level, first, last)
values (?1, ?2, ?3, ?4)
returning n
