-- Removes what hides events that are removed.
-- Index: the primary key of hidden.
delete from hidden
where event = any($1)
returning event, since
