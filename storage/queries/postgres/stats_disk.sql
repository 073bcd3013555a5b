-- Returns the size of the database in bytes.
select pg_database_size(current_database())
