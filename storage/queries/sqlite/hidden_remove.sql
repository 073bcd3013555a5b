-- Removes what hides an event that is removed.
-- Index: the primary key of hidden.
delete from hidden
where event = ?1
returning since
