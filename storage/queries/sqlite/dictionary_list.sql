-- Lists the dictionaries after one.
-- Index: the primary key of dictionary.
select data
from dictionary
where n > ?1
order by n
