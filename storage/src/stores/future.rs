//! Repairs timestamps that were written while a clock was ahead.
//!
//! Clocks of several machines differ by seconds. What lies less than [`SKEW`] ahead was written by such a clock: it is moved
//! back to now and trusted otherwise.

use crate::StorageError;
use crate::database::{Database, Transaction, args};
use crate::query::{Query, common};

/// Seconds by which clocks may differ without one of them being wrong.
const SKEW: i64 = 600;

/// Due times that are too far ahead, or were set by a clock that was ahead. They come before [`CLAMPED`], which removes the
/// marks of such a clock.
const DUE_TOO_LATE: [Query; 4] =
    [common!("future_check_due"), common!("future_sync_due"), common!("future_outbox_due"), common!("future_job_due")];

/// Claims that were made by a clock that was ahead, as far as they are not trusted. They come before [`CLAMPED`].
const UNTRUSTED: [Query; 2] = [common!("future_distrust_claims"), common!("future_shorten_claims")];

/// Everything else that cannot lie in the future. Of the checks of a relay that do, the newest stays.
const CLAMPED: [Query; 16] = [
    common!("future_coverage_beyond"),
    common!("future_coverage_until"),
    common!("future_coverage_proven_at"),
    common!("future_gap_beyond"),
    common!("future_gap_until"),
    common!("future_gap_tried_at"),
    common!("future_visit_beyond"),
    common!("future_visit_at"),
    common!("future_relay_checked_at"),
    common!("future_relay_discovered_at"),
    common!("future_relay_first_seen_at"),
    common!("future_relay_last_seen_at"),
    common!("future_outbox_queued_at"),
    common!("future_job_received_at"),
    common!("future_job_begun_at"),
    common!("future_job_ended_at"),
];

/// Returns true if a clock that was ahead left a mark in the small tables; those of checks, jobs and the outbox have no index
/// by time.
pub(crate) async fn is_marked(database: &impl Database, now: i64, longest_wait: i64) -> Result<bool, StorageError> {
    Ok(!database.rows(common!("future_marks"), args![now, now.saturating_add(longest_wait)]).await?.is_empty())
}

/// Moves timestamps after `now` back to it, once all relays are locked; returns the number of changed rows. No due time stays
/// more than `longest_wait` seconds ahead.
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
