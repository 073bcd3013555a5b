-- Records the newest event of a replaceable slot.
-- Index: the primary key of slot.
insert into slot (key, event, created_at, id, deleted_until)
values (?1, ?2, ?3, ?4, ?5)
on conflict (key) do update
set event = excluded.event,
    created_at = excluded.created_at,
    id = excluded.id,
    deleted_until = excluded.deleted_until
