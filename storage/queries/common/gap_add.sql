-- Stores a gap.
-- Index: the primary key of gap.
insert into gap (relay, filter, since, until, reason, count, tried_at)
values ($1, $2, $3, $4, $5, $6, $7)
