-- Uptime is a share of time: down relays are checked less often than others, so a share of checks says little. What a check
-- found holds until the next check, or until now, and for no longer than 8 days: relays are checked once a week at least.
drop view relay_uptime;
create view relay_uptime as
select relay_url, count(*) as checks, sum(up) as up, min(checked_at) as first_checked_at, max(checked_at) as last_checked_at,
       case when sum(seconds) > 0 then round(1.0 * sum(up * seconds) / sum(seconds), 4) else 1.0 * max(newest) end as uptime
  from (select relay_url, checked_at, up,
               max(0, min(691200, coalesce(lead(checked_at) over checks, unixepoch()) - checked_at)) as seconds,
               last_value(up) over (checks rows between unbounded preceding and unbounded following) as newest
          from relay_checks window checks as (partition by relay_url order by checked_at))
 group by relay_url;

-- The terms of texts come split and folded, separated by spaces: this tokenizer leaves them as they are. The index is
-- filled by the program.
drop table search;
create virtual table search using fts5(text, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
