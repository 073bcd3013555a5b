-- What was found on each visit: a row of 64 bytes, since documents are kept once and referred to by number.
drop view nip11;
drop view nip66;
drop view relay_metadata;
drop view relay_metadata_latest;

alter table document add column k integer generated always as identity;
alter table document add unique (k);

-- In the order of their widths, so that nothing is lost to alignment.
create table visit (
    at           bigint  not null,
    relay        integer not null,
    nip11        integer,
    nip66        integer,
    rtt_open_ms  integer,
    rtt_read_ms  integer,
    rtt_write_ms integer,
    dns_ttl      integer,
    up           boolean not null,
    primary key (relay, at)
);
insert into visit (relay, at, up, nip11, nip66, rtt_open_ms, rtt_read_ms, rtt_write_ms)
select m.relay, m.generated_at, coalesce(bool_or((d.data::jsonb ->> 'up')::boolean) filter (where m.type = 'nip66'), false),
       max(d.k) filter (where m.type = 'nip11'), max(d.k) filter (where m.type = 'nip66'),
       max(m.rtt_open_ms), max(m.rtt_read_ms), max(m.rtt_write_ms)
  from metadata m join document d on d.id = m.document and d.type = m.type
 group by m.relay, m.generated_at;
drop table metadata;

create view nip11 as select id, data from document where type = 'nip11';
create view nip66 as select id, data from document where type = 'nip66';

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

create view relay_uptime as
select relay_url, count(*) as checks, sum(up) as up, min(checked_at) as first_checked_at,
       max(checked_at) as last_checked_at, round(1.0 * sum(up) / count(*), 4) as uptime
  from relay_checks group by relay_url;

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
