-- Counts what was accepted, refused and waits, by relay, with what went wrong last. All of outbox is read: what was queued in
-- eight days.
select relay,
       count(sent_at),
       count(*) - count(sent_at) - count(due_at),
       count(due_at),
       (
         select o.trouble
         from outbox o
         where o.relay = outbox.relay and o.trouble is not null
         order by o.k desc
         limit 1
       )
from outbox
group by relay
order by relay
