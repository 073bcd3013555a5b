-- Keeps a check. Numbers are given as 64 bits and made what the columns are, since PostgreSQL has several kinds.
-- Index: the primary key of visit.
insert into visit (relay, at, up, nip11, nip66, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl)
values ($1, $2, $3 = 1, $4, $5, cast($6 as int), cast($7 as int), cast($8 as int), cast($9 as int))
on conflict (relay, at) do update
set up = excluded.up,
    nip11 = excluded.nip11,
    nip66 = excluded.nip66,
    rtt_open_ms = excluded.rtt_open_ms,
    rtt_read_ms = excluded.rtt_read_ms,
    rtt_write_ms = excluded.rtt_write_ms,
    dns_ttl = excluded.dns_ttl
