-- Removes gaps that begin after time 1.
delete from gap
where since > $1
