-- How far back the history of relays goes, as measured: a row for each relay and class of kinds.
create view relay_retention as
select state_key as relay_url, class.value ->> '$.class' as class, state.value ->> '$.measured_at' as measured_at,
       class.value ->> '$.proven_since' as proven_since, class.value ->> '$.since' as since,
       class.value ->> '$.authors' as authors, class.value ->> '$.events' as events, class.value ->> '$.held' as held,
       class.value ->> '$.lost' as lost
  from (select state_key, case when json_valid(state_value) then state_value else '{}' end as value
          from service_state where service_name = 'synchronizer' and state_type = 'retention') state,
       json_each(state.value, '$.classes') class;
