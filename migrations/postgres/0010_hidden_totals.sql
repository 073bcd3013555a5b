-- How many events of each kind are hidden for good, so that counting what clients see of a kind reads no rows. A mark of an event that is
-- not stored says nothing, and would be counted late if the event came back.
delete from hidden where not exists (select 1 from event where event.k = hidden.event);
alter table kind add column hidden bigint not null default 0;
-- Where an archive is distributed they are not kept up.
do $$
begin
    if not exists (select 1 from pg_extension where extname = 'citus') then
        update kind set hidden = n
          from (select event.kind, count(*) as n from event
                 where exists (select 1 from hidden where hidden.event = event.k and hidden.since = 0) group by event.kind) counted
         where counted.kind = kind.kind;
    end if;
end $$;
-- What is hidden from a time on (NIP-40) is counted by looking.
create index hidden_by_time on hidden (since) where since <> 0;
