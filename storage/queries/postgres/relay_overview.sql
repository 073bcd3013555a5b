-- Lists relays as relay_list does, each with the facts of its last check.
-- Indexes: the unique index of relay.url, the primary keys of visit and document.
select relay.url, relay.network, relay.state, relay.discovered_at, relay.checked_at, relay.failures,
       visit.rtt_open_ms, visit.rtt_read_ms, visit.rtt_write_ms, document.data
from relay
left join visit on visit.relay = relay.k and visit.at = relay.checked_at
left join document on document.k = visit.nip66
where url > $1
  and (cardinality(cast($2 as text[])) = 0 or network = any($2))
  and (cardinality(cast($6 as text[])) = 0 or state = any($6))
  and check_due_at <= $3
  and sync_due_at <= $4
  and url like '%' || $7 || '%' escape '!'
order by case $8 when 'check' then check_due_at when 'sync' then sync_due_at else 0 end, url
limit $5
