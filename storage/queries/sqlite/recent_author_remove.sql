-- Removes what was added to the total of an author.
-- Index: the primary key of recent_author.
delete from recent_author
where author = ?1
