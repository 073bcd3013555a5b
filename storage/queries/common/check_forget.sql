-- Removes checks from before a time, but the newest of each relay and the newest that brought a NIP-11 document.
-- Index: the primary key of visit, for the newest of a relay; all checks are read.
delete from visit
where at < $1
  and at < (select max(v.at) from visit v where v.relay = visit.relay)
  and at <> (select coalesce(max(v.at), -1) from visit v where v.relay = visit.relay and v.nip11 is not null)
