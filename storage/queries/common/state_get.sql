-- Returns a value that a service keeps.
-- Index: the primary key of service_state.
select state_value
from service_state
where service_name = $1 and state_type = $2 and state_key = $3
