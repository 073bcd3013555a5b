-- Returns the number of the server process of this connection, by which its statement can be cancelled.
-- No table is read.
select pg_backend_pid()
