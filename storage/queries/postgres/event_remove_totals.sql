-- Takes removed events off the totals of authors and kinds and of the archive. Arguments: authors, kinds, removed events of
-- each pair, the number of removed events, 1 for each pair that has none left, removed events that were hidden.
-- Indexes: the primary keys of author and kind.
with pair as (
  select *
  from unnest($1::int[], $2::int[], $3::bigint[], $5::int[], $6::bigint[]) as p (author, kind, n, last, hidden)
),
of_author as (
  update author
  set events = events - s.n, kinds = kinds - s.last
  from (select author, sum(n)::bigint as n, sum(last)::bigint as last from pair group by author) s
  where author.k = s.author
  returning events = 0 as gone
),
of_kind as (
  update kind
  set events = events - s.n, pubkeys = pubkeys - s.last, hidden = kind.hidden - s.hidden
  from (
    select kind, sum(n)::bigint as n, sum(last)::bigint as last, sum(hidden)::bigint as hidden
    from pair
    group by kind
  ) s
  where kind.kind = s.kind
)
update archive
set events = events - $4, pubkeys = pubkeys - (select count(*) from of_author where gone)
