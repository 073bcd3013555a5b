-- Returns the number of a document by its hash and type. On PostgreSQL it stays locked until the transaction that refers to it
-- ends, so that nobody removes it in between.
-- Index: the unique index of document (id, type).
select k
from document
where id = $1 and type = $2
for key share
