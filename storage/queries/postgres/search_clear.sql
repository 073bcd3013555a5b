-- Removes the terms of all events.
delete from search
