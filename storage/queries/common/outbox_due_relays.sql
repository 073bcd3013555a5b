-- Lists relays and lanes on which something is due, those that waited longest first. Lane 1 has answers, lane 0 versions.
-- Index: outbox_due.
select relay, case when slot is null then 1 else 0 end as answers
from outbox
where due_at is not null and due_at <= $1
group by relay, case when slot is null then 1 else 0 end
order by min(due_at)
