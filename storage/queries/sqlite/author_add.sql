-- Adds an author.
-- Index: the unique index of author.pubkey.
insert into author (pubkey) values (?1)
