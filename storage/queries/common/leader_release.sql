-- Releases every named lease of a holder. The table has a row for each name: a handful.
delete from lease
where holder = $1
