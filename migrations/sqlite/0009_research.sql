-- Views for questions about relays, their coverage and the tags of events.

drop view relay_checks;
create view relay_checks as
select relay.url as relay_url, visit.at as checked_at, up, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl,
       json_extract(document.data, '$.failure') as failure
  from visit join relay on relay.k = visit.relay left join document on document.k = visit.nip66;

-- A document says anything anywhere: what is of another type is left out.
create view relay_info as
select relay_url, network, state, checked_at, failure,
       case json_type(nip11, '$.name') when 'text' then nip11 ->> '$.name' end as name,
       case json_type(nip11, '$.software') when 'text' then nip11 ->> '$.software' end as software,
       case json_type(nip11, '$.version') when 'text' then nip11 ->> '$.version' end as version,
       case json_type(nip11, '$.pubkey') when 'text' then nip11 ->> '$.pubkey' end as pubkey,
       case json_type(nip11, '$.supported_nips') when 'array' then nip11 -> '$.supported_nips' end as supported_nips,
       case when json_type(nip11, '$.limitation.max_limit') in ('integer', 'real') then nip11 ->> '$.limitation.max_limit' end as max_limit,
       case when json_type(nip11, '$.limitation.max_message_length') in ('integer', 'real')
            then nip11 ->> '$.limitation.max_message_length' end as max_message_length,
       case when json_type(nip11, '$.limitation.max_subscriptions') in ('integer', 'real')
            then nip11 ->> '$.limitation.max_subscriptions' end as max_subscriptions,
       case when json_type(nip11, '$.limitation.auth_required') in ('true', 'false')
            then nip11 ->> '$.limitation.auth_required' end as auth_required,
       case when json_type(nip11, '$.limitation.payment_required') in ('true', 'false')
            then nip11 ->> '$.limitation.payment_required' end as payment_required,
       case when json_type(nip11, '$.limitation.restricted_writes') in ('true', 'false')
            then nip11 ->> '$.limitation.restricted_writes' end as restricted_writes,
       nip66 ->> '$.geo.country' as country, nip66 ->> '$.geo.city' as city,
       nip66 ->> '$.net.asn' as asn, nip66 ->> '$.net.organisation' as organisation
  from (select relay.url as relay_url, relay.network, relay.state, relay.checked_at, nip66.data as nip66, nip11.data as nip11,
               nip66.data ->> '$.failure' as failure
          from relay
          left join document nip11 on nip11.k = (select v.nip11 from visit v where v.relay = relay.k and v.nip11 is not null
                                                  order by v.at desc limit 1)
          left join document nip66 on nip66.k = (select v.nip66 from visit v where v.relay = relay.k and v.nip66 is not null
                                                  order by v.at desc limit 1));

create view relay_nips as
select distinct relay_url, cast(nip.value as text) as nip from relay_info, json_each(supported_nips) nip;

create view relay_coverage as
select relay.url as relay_url, filter, since, until, method, proven_at from coverage join relay on relay.k = coverage.relay;

create view relay_gaps as
select relay.url as relay_url, filter, since, until, reason, count, tried_at from gap join relay on relay.k = gap.relay;

create view event_tags as
select event.id as event_id, event.created_at, event.kind, tag.key as place, tag.value ->> 0 as name, tag.value ->> 1 as value,
       tag.value as tag
  from event, json_each(event_tags(event.payload)) tag;

drop view events_relays;
create view events_relays as
select event.id as event_id, relay.url as relay_url, sighting.seen_at, event.created_at, event.kind, author.pubkey
  from sighting join event on event.k = sighting.event join relay on relay.k = sighting.relay
  left join author on author.k = event.author;

-- The keys of the agents that write here: what they publish is not the network's.
create table agent (
    pubkey  blob    primary key,
    since   integer not null,
    seen_at integer not null
) without rowid;
create view agents as select pubkey, since, seen_at from agent;
