-- Lists what is due to relay 1 at time 2 on lane 4 (1 answers, 0 versions), at most 3, in order of rank and age.
-- Index: outbox_due.
select event, relay, body, slot, attempts, rank
from outbox
where relay = $1 and due_at is not null and due_at <= $2 and (slot is null) = ($4 = 1)
order by rank, k
limit $3
