-- Records what a new archive keeps.
update archive
set profile = ?1
where profile is null
