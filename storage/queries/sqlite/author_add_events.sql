-- Adds to the total of an author.
-- Index: the primary key of author.
update author
set events = events + ?2, kinds = kinds + ?3
where k = ?1
