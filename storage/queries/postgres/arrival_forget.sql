-- Removes arrivals from before a time, as far as the finder has read them: it is the only reader that goes on from where it was
-- after a restart. Its cursor counts a million places for each arrival.
-- Index: the primary key of arrival.
delete from arrival
where at < $1
  and n < (
    select cast(state_value as bigint) / 1048576
    from service_state
    where service_name = 'finder' and state_type = 'cursor' and state_key = 'events' and state_value ~ '^[0-9]{1,18}$'
  )
