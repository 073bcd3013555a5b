-- Records the version of the index of texts.
update archive set search = ?1
