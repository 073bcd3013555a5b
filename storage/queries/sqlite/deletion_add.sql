-- Records what a deletion names.
-- Index: the primary key of deletion.
insert or ignore into deletion (key) values (?1)
