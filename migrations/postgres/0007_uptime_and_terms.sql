drop view relay_rtt;
drop view relay_changes;
drop view relay_uptime;
drop view relay_checks;
drop view relay_metadata_latest;
drop view relay_metadata;
drop view relays_statistics;
drop view relays;

-- Numbers of relays and documents are not given again, and reach 2^31 within years.
alter table document alter column k type bigint;
alter table visit
    alter column relay type bigint,
    alter column nip11 type bigint,
    alter column nip66 type bigint;

-- Addresses sort by their bytes, as in SQLite. The views of sightings differ where the archive is distributed, and are
-- made again as they were.
do $$
declare
    held text := pg_get_viewdef('events_relays'::regclass);
    gone text := pg_get_viewdef('events_relays_lost'::regclass);
begin
    drop view events_relays;
    drop view events_relays_lost;
    alter table relay alter column url type text collate "C";
    execute 'create view events_relays as ' || held;
    execute 'create view events_relays_lost as ' || gone;
end $$;

-- When events arrived, so that it can be forgotten once all readers are past them.
alter table arrival add column at bigint not null default cast(floor(extract(epoch from now())) as bigint);

create view relays as select url, network, discovered_at, state, checked_at from relay;

create view relays_statistics as
select url as relay_url, network, discovered_at, events, first_seen_at, last_seen_at from relay;

create view relay_metadata as
select relay.url as relay_url, visit.at as generated_at, document.type, document.id as metadata_id,
       rtt_open_ms, rtt_read_ms, rtt_write_ms
  from visit join relay on relay.k = visit.relay join document on document.k in (visit.nip11, visit.nip66);

create view relay_metadata_latest as
select relay.url as relay_url, visit.at as generated_at, document.type, document.id as metadata_id,
       rtt_open_ms, rtt_read_ms, rtt_write_ms
  from relay
 cross join lateral (
        (select v.at, v.nip11 as k, v.rtt_open_ms, v.rtt_read_ms, v.rtt_write_ms from visit v
          where v.relay = relay.k and v.nip11 is not null order by v.at desc limit 1)
        union all
        (select v.at, v.nip66, v.rtt_open_ms, v.rtt_read_ms, v.rtt_write_ms from visit v
          where v.relay = relay.k and v.nip66 is not null order by v.at desc limit 1)) visit
  join document on document.k = visit.k;

create view relay_checks as
select relay.url as relay_url, visit.at as checked_at, up::int as up, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl
  from visit join relay on relay.k = visit.relay;

-- Uptime is a share of time: down relays are checked less often than others, so a share of checks says little. What a check
-- found holds until the next check, or until now, and for no longer than 8 days: relays are checked once a week at least.
create view relay_uptime as
select relay_url, count(*) as checks, sum(up) as up, min(checked_at) as first_checked_at, max(checked_at) as last_checked_at,
       case when sum(seconds) > 0 then round(1.0 * sum(up * seconds) / sum(seconds), 4) else 1.0 * max(newest) end as uptime
  from (select relay_url, checked_at, up,
               greatest(0, least(691200, coalesce(lead(checked_at) over checks, floor(extract(epoch from now()))::bigint) - checked_at)) as seconds,
               last_value(up) over (checks rows between unbounded preceding and unbounded following) as newest
          from relay_checks window checks as (partition by relay_url order by checked_at)) found
 group by relay_url;

-- When a relay was found to be up that had been down, or down that had been up.
create view relay_changes as
select relay_url, checked_at as changed_at, up
  from (select relay_url, checked_at, up, lag(up) over (partition by relay_url order by checked_at) as before
          from relay_checks) steps
 where up <> before;

create view relay_rtt as
select relay_url, phase, count(ms) as measured, percentile_disc(0.5) within group (order by ms) as p50_ms,
       percentile_disc(0.9) within group (order by ms) as p90_ms
  from relay_checks
 cross join lateral (values ('open', rtt_open_ms), ('read', rtt_read_ms), ('write', rtt_write_ms)) as phases (phase, ms)
 where ms is not null
 group by relay_url, phase;
