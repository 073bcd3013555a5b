-- Views for questions about relays, their coverage and the tags of events.

-- Documents as jsonb, with U+FFFD for NUL, which jsonb cannot hold. The program keeps only what is JSON.
create function document_json(data text) returns jsonb language sql immutable parallel safe as $$
    select regexp_replace(data, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb
$$;

-- What a document says at a path, if it is of that type: relays write anything anywhere.
create function text_at(document jsonb, variadic path text[]) returns text language sql immutable parallel safe as $$
    select case jsonb_typeof(document #> path) when 'string' then document #>> path end
$$;
create function number_at(document jsonb, variadic path text[]) returns numeric language sql immutable parallel safe as $$
    select case jsonb_typeof(document #> path) when 'number' then (document #>> path)::numeric end
$$;
-- 1 or 0.
create function switch_at(document jsonb, variadic path text[]) returns integer language sql immutable parallel safe as $$
    select case jsonb_typeof(document #> path) when 'boolean' then (document #>> path)::boolean::integer end
$$;

drop view nip11;
drop view nip66;
create view nip11 as select id, document_json(data) as data from document where type = 'nip11';
create view nip66 as select id, document_json(data) as data from document where type = 'nip66';

create or replace view relay_checks as
select relay.url as relay_url, visit.at as checked_at, up::int as up, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl,
       text_at(document_json(document.data), 'failure') as failure
  from visit join relay on relay.k = visit.relay left join document on document.k = visit.nip66;

create view relay_info as
select relay.url as relay_url, relay.network, relay.state, relay.checked_at,
       text_at(nip66.data, 'failure') as failure,
       text_at(nip11.data, 'name') as name, text_at(nip11.data, 'software') as software,
       text_at(nip11.data, 'version') as version, text_at(nip11.data, 'pubkey') as pubkey,
       case jsonb_typeof(nip11.data -> 'supported_nips') when 'array' then nip11.data -> 'supported_nips' end as supported_nips,
       number_at(nip11.data, 'limitation', 'max_limit') as max_limit,
       number_at(nip11.data, 'limitation', 'max_message_length') as max_message_length,
       number_at(nip11.data, 'limitation', 'max_subscriptions') as max_subscriptions,
       switch_at(nip11.data, 'limitation', 'auth_required') as auth_required,
       switch_at(nip11.data, 'limitation', 'payment_required') as payment_required,
       switch_at(nip11.data, 'limitation', 'restricted_writes') as restricted_writes,
       text_at(nip66.data, 'geo', 'country') as country, text_at(nip66.data, 'geo', 'city') as city,
       number_at(nip66.data, 'net', 'asn') as asn, text_at(nip66.data, 'net', 'organisation') as organisation
  from relay
  left join lateral (select document_json(document.data) as data from visit join document on document.k = visit.nip11
                      where visit.relay = relay.k and visit.nip11 is not null order by visit.at desc limit 1) nip11 on true
  left join lateral (select document_json(document.data) as data from visit join document on document.k = visit.nip66
                      where visit.relay = relay.k and visit.nip66 is not null order by visit.at desc limit 1) nip66 on true;

create view relay_nips as
select distinct relay_url, nip from relay_info, jsonb_array_elements_text(supported_nips) nip;

create view relay_coverage as
select relay.url as relay_url, filter, since, until, method, proven_at from coverage join relay on relay.k = coverage.relay;

create view relay_gaps as
select relay.url as relay_url, filter, since, until, reason, count, tried_at from gap join relay on relay.k = gap.relay;

create view event_tags as
select event.id as event_id, event.created_at, event.kind, n - 1 as place, tag ->> 0 as name, tag ->> 1 as value, tag
  from event cross join lateral jsonb_array_elements(event_tags(event.tags)) with ordinality as t (tag, n);

-- The number under which a one-letter tag is indexed.
create function tag_key(name text, value text) returns bigint language sql immutable parallel safe as $$
    select ('x' || encode(substr(sha256(convert_to(name || value, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
$$;

-- The events that have a one-letter tag with this first value, by the index of tags: the view `events` has to read all.
create function events_tagged(name text, value text) returns setof events language sql stable parallel safe as $$
    select event.id, author.pubkey, event.created_at, event.kind, event_tags(event.tags), event_tagvalues(event.tags), event.content,
           event.sig
      from event join author on author.k = event.author
     where event.tagkeys @> array[tag_key(name, value)] and event_tagvalues(event.tags) @> array[name || ':' || value]
$$;

-- The events that one relay was seen to hold, each found by the first 64 bits of its id. For the view `events_relays` the planner takes
-- such a range for half a percent of all events, and rather reads them all.
create function events_on(url text)
returns table (event_id bytea, seen_at bigint, created_at bigint, kind integer, pubkey bytea) language sql stable parallel safe as $$
    select event.id, sighting.seen_at, event.created_at, event.kind, author.pubkey
      from relay
      join sighting on sighting.relay = relay.k
     cross join lateral unnest(sighting.events) held (k)
     cross join lateral (select * from event where event.k = held.k and event.id >= int8send(held.k)
                             and event.id <= int8send(held.k) || decode(repeat('ff', 24), 'hex') offset 0) event
      left join author on author.k = event.author
     where relay.url = events_on.url
$$;

-- An index leads from an event to the sets that hold it, and whatever asks for all sightings joins them by hash. Where an archive is
-- distributed, servers cannot share the work like this, and the view stays as it is.
do $$
begin
    if not exists (select 1 from pg_extension where extname = 'citus') then
        create or replace view events_relays as
        select event.id as event_id, relay.url as relay_url, sighting.seen_at, event.created_at, event.kind, author.pubkey
          from relay
          join sighting on sighting.relay = relay.k
         cross join lateral unnest(sighting.events) held (k)
          join event on event.k = held.k and sighting.events @> array[event.k]
                    and event.id >= int8send(held.k) and event.id <= int8send(held.k) || decode(repeat('ff', 24), 'hex')
          left join author on author.k = event.author;
    end if;
end $$;

-- The keys of the agents that write here: what they publish is not the network's.
create table agent (
    pubkey  bytea  primary key,
    since   bigint not null,
    seen_at bigint not null
);
create view agents as select pubkey, since, seen_at from agent;
