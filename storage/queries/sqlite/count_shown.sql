-- Returns the number of events that are not hidden at a time. All of hidden is read.
select events - (select count(distinct event) from hidden where since <= ?1)
from archive
