-- Indexes the terms of texts by event.
-- Index: the primary key of search.
insert into search (event, document)
select k, array_to_tsvector(string_to_array(terms, ' '))
from unnest($1::bigint[], $2::text[]) as t (k, terms)
on conflict do nothing
