-- Adds the first dictionary.
insert into dictionary (n, data) values (1, ?1)
