-- Returns all values of one type that a service keeps, by key.
-- Index: the primary key of service_state.
select state_key, state_value
from service_state
where service_name = $1 and state_type = $2
