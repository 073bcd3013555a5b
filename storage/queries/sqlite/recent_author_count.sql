-- Counts totals of authors that wait to be added.
select count(*)
from recent_author
