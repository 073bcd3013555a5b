-- Removes all events with everything they hid. The indexes of runs are emptied by their own module.
insert into search (search)
values ('delete-all');
delete from event;
delete from sighting;
delete from lost;
delete from hidden;
delete from slot;
delete from deletion;
delete from kind;
delete from recent_author;
update author
set events = 0, kinds = 0, vanished_until = null;
update relay
set events = 0, first_seen_at = null, last_seen_at = null;
update archive
set events = 0, pubkeys = 0, sightings = 0, first_created_at = null, last_created_at = null;
