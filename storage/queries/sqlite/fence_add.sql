-- Adds a fence to a run.
insert into fence (k, data) values (?1, ?2)
