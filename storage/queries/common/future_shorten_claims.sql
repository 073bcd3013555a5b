-- Claims that were made by a clock ahead of time 1 are trusted up to a day before the relay became known: a claim was made after
-- that, and says nothing of when it was made in fact. Ends those that end later there.
update coverage
set until = (
  select case when r.discovered_at > $1 then -1 else r.discovered_at - 86400 end
  from relay r
  where r.k = coverage.relay
)
where (until > $1 or proven_at > $1) and until > (
  select case when r.discovered_at > $1 then -1 else r.discovered_at - 86400 end
  from relay r
  where r.k = coverage.relay
)
