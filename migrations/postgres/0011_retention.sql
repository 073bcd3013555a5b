-- How far back the history of relays goes, as measured: a row for each relay and class of kinds.
create view relay_retention as
select state_key as relay_url, class ->> 'class' as class, (state.value ->> 'measured_at')::bigint as measured_at,
       (class ->> 'proven_since')::bigint as proven_since, (class ->> 'since')::bigint as since,
       (class ->> 'authors')::bigint as authors, (class ->> 'events')::bigint as events, (class ->> 'held')::bigint as held,
       (class ->> 'lost')::bigint as lost
  from (select state_key, case when state_value like '{%' then state_value::jsonb else '{}' end as value
          from service_state where service_name = 'synchronizer' and state_type = 'retention') state
 cross join jsonb_array_elements(state.value -> 'classes') class;
