-- Returns the version of the schema.
select max(version)
from _sqlx_migrations
where success
