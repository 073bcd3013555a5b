-- What was found on each visit: a row of some thirty bytes, since documents are kept once and referred to by number.
drop view nip11;
drop view nip66;
drop view relay_metadata;
drop view relay_metadata_latest;

alter table document rename to old_document;
create table document (
    k    integer primary key,
    id   blob not null,
    type text not null,
    data text not null,
    unique (id, type)
);
insert into document (id, type, data) select id, type, data from old_document;

create table visit (
    relay        integer not null references relay (k),
    at           integer not null,
    up           integer not null,
    nip11        integer,
    nip66        integer,
    rtt_open_ms  integer,
    rtt_read_ms  integer,
    rtt_write_ms integer,
    dns_ttl      integer,
    primary key (relay, at)
) without rowid;
insert into visit (relay, at, up, nip11, nip66, rtt_open_ms, rtt_read_ms, rtt_write_ms)
select m.relay, m.generated_at, coalesce(max(case when m.type = 'nip66' then json_extract(d.data, '$.up') end), 0),
       max(case when m.type = 'nip11' then d.k end), max(case when m.type = 'nip66' then d.k end),
       max(m.rtt_open_ms), max(m.rtt_read_ms), max(m.rtt_write_ms)
  from metadata m join document d on d.id = m.document and d.type = m.type
 group by m.relay, m.generated_at;
drop table metadata;
drop table old_document;

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
  join visit on visit.relay = relay.k
             and visit.at = (select max(v.at) from visit v where v.relay = relay.k and v.nip11 is not null)
  join document on document.k = visit.nip11
union all
select relay.url, visit.at, document.type, document.id, rtt_open_ms, rtt_read_ms, rtt_write_ms
  from relay
  join visit on visit.relay = relay.k
             and visit.at = (select max(v.at) from visit v where v.relay = relay.k and v.nip66 is not null)
  join document on document.k = visit.nip66;

create view relay_checks as
select relay.url as relay_url, visit.at as checked_at, up, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl
  from visit join relay on relay.k = visit.relay;

create view relay_uptime as
select relay_url, count(*) as checks, sum(up) as up, min(checked_at) as first_checked_at,
       max(checked_at) as last_checked_at, round(1.0 * sum(up) / count(*), 4) as uptime
  from relay_checks group by relay_url;

-- When a relay was found to be up that had been down, or down that had been up.
create view relay_changes as
select relay_url, checked_at as changed_at, up
  from (select relay_url, checked_at, up, lag(up) over (partition by relay_url order by checked_at) as before
          from relay_checks)
 where up is not before and before is not null;

create view relay_rtt as
select relay_url, 'open' as phase, count(*) as measured, min(case when 2 * n >= of then ms end) as p50_ms,
       min(case when 10 * n >= 9 * of then ms end) as p90_ms
  from (select relay_url, rtt_open_ms as ms, row_number() over (partition by relay_url order by rtt_open_ms) as n,
               count(*) over (partition by relay_url) as of from relay_checks where rtt_open_ms is not null)
 group by relay_url
union all
select relay_url, 'read', count(*), min(case when 2 * n >= of then ms end), min(case when 10 * n >= 9 * of then ms end)
  from (select relay_url, rtt_read_ms as ms, row_number() over (partition by relay_url order by rtt_read_ms) as n,
               count(*) over (partition by relay_url) as of from relay_checks where rtt_read_ms is not null)
 group by relay_url
union all
select relay_url, 'write', count(*), min(case when 2 * n >= of then ms end), min(case when 10 * n >= 9 * of then ms end)
  from (select relay_url, rtt_write_ms as ms, row_number() over (partition by relay_url order by rtt_write_ms) as n,
               count(*) over (partition by relay_url) as of from relay_checks where rtt_write_ms is not null)
 group by relay_url;
