-- Returns an event that a deletion names, if its author asked for that and it can be deleted.
-- Indexes: the primary keys of event and author.
select e.k
from event e
join author a on a.k = e.author
where e.k = ?1
  and a.pubkey = ?2
  and e.kind not in (5, 62)
