-- Removes all events with everything they hid. Relays are locked first, in the order in which all lock them.
select k
from relay
order by k for no key update;
delete from search;
delete from event;
delete from arrival;
delete from sighting;
delete from lost;
delete from hidden;
delete from slot;
delete from deletion;
delete from kind;
delete from author;
update relay
set events = 0, first_seen_at = null, last_seen_at = null;
update archive
set events = 0, pubkeys = 0, sightings = 0;
