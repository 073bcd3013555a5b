-- Records on the relay what a check found: 2 the state, 3 its time, 4 when the next one is due.
-- Index: the primary key of relay.
update relay
set state = $2,
    checked_at = $3,
    check_due_at = $4,
    check_lease = 0,
    failures = case when $2 = 'down' then failures + 1 else 0 end
where k = $1
