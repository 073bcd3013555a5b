-- Returns the name of the table archive, or null where the database has none.
select to_regclass('archive')::text
