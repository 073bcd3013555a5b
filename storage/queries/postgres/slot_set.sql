-- Records the newest event of replaceable slots.
-- Index: the primary key of slot.
insert into slot (key, event, created_at, id, deleted_until)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[])
on conflict (key) do update
set event = excluded.event,
    created_at = excluded.created_at,
    id = excluded.id,
    deleted_until = excluded.deleted_until
