-- Moves due times back to now (1): those later than 2, or set by a clock that was ahead of 3.
update job
set begin_at = $1
where begin_at > $2 or begin_at > $1 and (received_at > $3 or begun_at > $3)
