-- Removes the checks of a relay that lie after time 1, but the newest of them.
-- Index: the primary key of visit.
delete from visit
where at > $1
  and exists (select 1 from visit v where v.relay = visit.relay and (v.at > visit.at or v.at = $1))
