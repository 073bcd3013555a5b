-- Returns the number of the last arrival.
-- Index: the primary key of arrival.
select coalesce(max(n), 0)
from arrival
