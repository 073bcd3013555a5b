-- Keeps a value of a service.
-- Index: the primary key of service_state.
insert into service_state (service_name, state_type, state_key, state_value)
values ($1, $2, $3, $4)
on conflict (service_name, state_type, state_key) do update
set state_value = excluded.state_value
