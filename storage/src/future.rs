//! Repairs what was written while a clock was ahead: nothing that happened lies in the future.
//!
//! Clocks of several machines differ by seconds. What lies less than [`SKEW`] ahead was written by such a clock: it is moved
//! back to now and trusted otherwise.

use crate::StorageError;
use crate::database::{Database, Transaction, args};

/// Seconds by which clocks may differ without one of them being wrong.
const SKEW: i64 = 600;

/// Due times that are too far ahead of `$1` (later than `$2`), or were set by a clock that was ahead of `$3` (now and the skew).
/// They come before [`CLAMPED`], which removes the marks of such a clock.
const DUE_TOO_LATE: [&str; 4] = [
    "update relay set check_due_at = $1 where check_due_at > $2 or check_due_at > $1 and checked_at > $3",
    "update relay set sync_due_at = $1 where sync_due_at > $2 and sync_due_at < 9223372036854775807 or sync_due_at > $1 and k in \
     (select relay from coverage where proven_at > $3 union select relay from gap where tried_at > $3)",
    "update outbox set due_at = $1 where due_at > $2 or due_at > $1 and queued_at > $3",
    "update job set begin_at = $1 where begin_at > $2 or begin_at > $1 and (received_at > $3 or begun_at > $3)",
];

/// Whether a clock that was ahead of `$1` left anything, or something is due too late (`$2`).
const MARKS: &str = "select 1 from (select 1 as one from relay where checked_at > $1 or discovered_at > $1 or last_seen_at > $1 \
     or check_due_at > $2 or sync_due_at > $2 and sync_due_at < 9223372036854775807 \
     union all select 1 from coverage where until > $1 or proven_at > $1 \
     union all select 1 from gap where until > $1 or tried_at > $1) marks limit 1";

/// How far a claim that was made by a clock ahead of `$1` can be trusted. It was made after the relay became known, and what a
/// relay held then is proven up to about a day before: a claim does not say when that was in fact.
macro_rules! trusted_until {
    () => {
        "(select case when r.discovered_at > $1 then -1 else r.discovered_at - 86400 end from relay r where r.k = coverage.relay)"
    };
}

/// Claims that were made by a clock that was ahead of `$1` (now and the skew), as far as they are not trusted. They come before
/// [`CLAMPED`].
const UNTRUSTED: [&str; 2] = [
    concat!("delete from coverage where (until > $1 or proven_at > $1) and since > ", trusted_until!()),
    concat!(
        "update coverage set until = ",
        trusted_until!(),
        " where (until > $1 or proven_at > $1) and until > ",
        trusted_until!()
    ),
];

/// Everything else that cannot lie after `$1`. Of the checks of a relay that do, the newest stays.
const CLAMPED: [&str; 16] = [
    "delete from coverage where since > $1",
    "update coverage set until = $1 where until > $1",
    "update coverage set proven_at = $1 where proven_at > $1",
    "delete from gap where since > $1",
    "update gap set until = $1 where until > $1",
    "update gap set tried_at = $1 where tried_at > $1",
    "delete from visit where at > $1 and exists \
     (select 1 from visit v where v.relay = visit.relay and (v.at > visit.at or v.at = $1))",
    "update visit set at = $1 where at > $1",
    "update relay set checked_at = $1 where checked_at > $1",
    "update relay set discovered_at = $1 where discovered_at > $1",
    "update relay set first_seen_at = $1 where first_seen_at > $1",
    "update relay set last_seen_at = $1 where last_seen_at > $1",
    "update outbox set queued_at = $1 where queued_at > $1",
    "update job set received_at = $1 where received_at > $1",
    "update job set begun_at = $1 where begun_at > $1",
    "update job set ended_at = $1 where ended_at > $1",
];

/// Returns whether a clock that was ahead left a mark: in tables that are small, unlike those of checks, jobs and what is sent,
/// which have no index by time.
pub(crate) async fn is_marked(database: &impl Database, now: i64, longest_wait: i64) -> Result<bool, StorageError> {
    Ok(!database.rows(MARKS, args![now, now.saturating_add(longest_wait)]).await?.is_empty())
}

/// Moves what lies after `now` back to it, once all relays are locked; returns the number of rows changed. No due time stays more than `longest_wait`
/// seconds ahead.
pub(crate) async fn clamp(tx: &mut dyn Transaction, now: i64, longest_wait: i64) -> Result<u64, StorageError> {
    let mut changed = 0;
    for sql in DUE_TOO_LATE {
        let args = args![now, now.saturating_add(longest_wait), now.saturating_add(SKEW)];
        changed += tx.execute(sql, args).await?;
    }
    for sql in UNTRUSTED {
        changed += tx.execute(sql, args![now.saturating_add(SKEW)]).await?;
    }
    for sql in CLAMPED {
        changed += tx.execute(sql, args![now]).await?;
    }
    Ok(changed)
}
