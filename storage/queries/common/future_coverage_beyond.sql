-- Removes claims that begin after time 1.
delete from coverage
where since > $1
