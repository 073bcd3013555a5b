-- Adds a block to a run.
insert into block (k, data) values (?1, ?2)
