-- Waits for the turn to write, which lasts as long as the transaction; returns the server's clock, in unix seconds.
select cast(floor(extract(epoch from clock_timestamp())) as bigint)
from pg_advisory_xact_lock($1)
