-- Removes the terms of all events.
insert into search (search) values ('delete-all')
