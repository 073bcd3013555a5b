-- Stores a claim.
-- Index: the primary key of coverage.
insert into coverage (relay, filter, since, until, method, proven_at)
values ($1, $2, $3, $4, $5, $6)
