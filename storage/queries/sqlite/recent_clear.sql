-- Empties the recent tables, whose entries are in a run now.
delete from recent_id;
delete from recent_tag;
delete from recent_head;
delete from recent_time
