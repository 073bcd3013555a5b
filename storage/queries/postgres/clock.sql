-- Returns the server's clock, in unix seconds.
select cast(floor(extract(epoch from now())) as bigint)
