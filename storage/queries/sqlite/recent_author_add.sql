-- Adds to what waits to be added to the total of an author.
-- Index: the primary key of recent_author.
insert into recent_author (author, events, kinds)
values (?1, ?2, ?3)
on conflict (author) do update set events = events + excluded.events, kinds = kinds + excluded.kinds
