-- Returns the newest document of each type of a relay.
-- Indexes: the primary key of visit, the unique index of document (id, type).
select m.type, m.generated_at, d.data, m.rtt_open_ms, m.rtt_read_ms, m.rtt_write_ms
from relay_metadata_latest m
join document d on d.id = m.metadata_id and d.type = m.type
where m.relay_url = $1
order by m.type
