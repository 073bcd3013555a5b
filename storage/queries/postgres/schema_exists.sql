-- Returns true if the database holds a schema of this program.
select count(*) = 2
from pg_class
where oid in (to_regclass('_sqlx_migrations'), to_regclass('archive'))
