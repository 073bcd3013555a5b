-- Records the order in which events were stored.
insert into arrival (events) values ($1)
