-- Lists events with text, in order of id, from one id on.
-- Index: the primary key of event; other kinds are passed over.
select id, kind, tags, content
from event
where kind in (0, 1, 30023)
  and id > $1
order by id
limit 5000
