-- Cancels the statement of another connection of the same role.
-- No table is read.
select pg_cancel_backend($1)
