-- Empties every index.
delete from recent_id;
delete from recent_tag;
delete from recent_head;
delete from recent_time;
delete from block;
delete from fence;
delete from run;
update archive
set runs = runs + 1
