-- Removes and returns claims of relay 1 under filter 2 by method 3 that overlap or touch a span: those that begin by 4 and end
-- at or after 5.
-- Index: the primary key of coverage.
delete from coverage
where relay = $1 and filter = $2 and method = $3 and since <= $4 and until >= $5
returning since, until, proven_at
