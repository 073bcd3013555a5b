-- What is added to the totals of authors waits here, and is added to their rows in the order of that table.
create table recent_author (
    author integer primary key,
    events integer not null,
    kinds  integer not null
);
drop view pubkey_counts_total;
create view pubkey_counts_total as
select pubkey, author.events + coalesce(r.events, 0) as events, author.kinds + coalesce(r.kinds, 0) as kinds
  from author left join recent_author r on r.author = author.k
 where author.events + coalesce(r.events, 0) > 0;

-- How many events of each kind are hidden for good, so that counting what clients see of a kind reads no rows. A mark of an event that is
-- not stored says nothing, and would be counted late if the event came back.
delete from hidden where event not in (select k from event);
alter table kind add column hidden integer not null default 0;
update kind set hidden = counted.n
  from (select event.kind, count(*) as n from event
         where event.k in (select event from hidden where since = 0) group by event.kind) counted
 where counted.kind = kind.kind;
-- What is hidden from a time on (NIP-40) is counted by looking.
create index hidden_by_time on hidden (since) where since <> 0;
