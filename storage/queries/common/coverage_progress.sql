-- Counts relays of which anything is proven, gaps, and the mean seconds from the end of what is proven to the time 1, of relays
-- that are up. All of coverage and gap is read: some rows for each relay.
select
  (select count(distinct relay) from coverage),
  (select count(*) from gap),
  (
    select cast(avg(case when $1 > ends then $1 - ends else 0 end) as bigint)
    from (
      select max(until) as ends
      from coverage
      join relay on relay.k = coverage.relay
      where relay.state = 'up'
      group by coverage.relay
    ) of_relay
  )
