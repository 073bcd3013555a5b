//! Claims and gaps of a batch, written in the batch's own transaction.
//!
//! A second of a relay and filter is never covered and in a gap at once:
//!
//! - A gap removes its span from the claims of the same batch: a request that left it open does not prove it.
//! - A claim removes its span from stored gaps.
//! - A gap leaves out spans that were proven before: another failed request refutes nothing. A batch that knows better names
//!   the span in [`Batch::refuted`].
//!
//! Of overlapping gaps, the one that was stored last stays whole.

use std::collections::BTreeMap;

use brotr_core::{Covered, Gap, Interval, IntervalSet};

use crate::StorageError;
use crate::batch::Batch;
use crate::database::{Row, Transaction, args};
use crate::query::common;
use crate::rows::CoverageReport;

type Result<T> = std::result::Result<T, StorageError>;

fn interval(since: i64, until: i64) -> Result<Interval> {
    Interval::new(since, until)
        .ok_or_else(|| StorageError::Damaged { what: "interval", detail: format!("{since} to {until}") })
}

/// The relay and filter of claims and gaps.
#[derive(Clone, Copy)]
struct Subject<'a> {
    relay: i64,
    filter: &'a str,
}

/// Writes the claims and gaps of a batch. `now` is the database's clock, beyond which nothing can be proven.
pub(crate) async fn write(tx: &mut dyn Transaction, relay: i64, batch: &Batch, now: i64) -> Result<()> {
    let subject = Subject { relay, filter: &batch.filter };
    for span in &batch.refuted {
        for old in take_claims(tx, subject, *span).await? {
            for interval in old.interval.minus(*span) {
                insert_claim(tx, subject, &Covered { interval, ..old.clone() }).await?;
            }
        }
    }
    let open: IntervalSet = batch.gaps.iter().map(|gap| gap.interval).collect();
    for claim in &batch.covered {
        let Some(past) = Interval::new(claim.interval.since, claim.interval.until.min(now)) else { continue };
        for interval in open.missing(past) {
            let proven_at = claim.proven_at.min(now);
            cover(tx, subject, Covered { interval, proven_at, ..claim.clone() }).await?;
            cut_gaps(tx, subject, interval).await?;
        }
    }
    for gap in &batch.gaps {
        let proven = claims(tx, subject, gap.interval).await?;
        for interval in proven.missing(gap.interval) {
            cut_gaps(tx, subject, interval).await?;
            insert_gap(tx, subject, &Gap { interval, ..gap.clone() }).await?;
        }
    }
    Ok(())
}

/// Stores a claim, merged with those of the same method that it touches.
async fn cover(tx: &mut dyn Transaction, of: Subject<'_>, mut claim: Covered) -> Result<()> {
    let Interval { since, until } = claim.interval;
    let touching = tx
        .rows(
            common!("coverage_take_touching"),
            args![of.relay, of.filter, claim.method.as_str(), until.saturating_add(1), since.saturating_sub(1)],
        )
        .await?;
    for row in touching {
        claim.interval.since = claim.interval.since.min(row.int(0)?);
        claim.interval.until = claim.interval.until.max(row.int(1)?);
        claim.proven_at = claim.proven_at.max(row.int(2)?);
    }
    insert_claim(tx, of, &claim).await
}

async fn insert_claim(tx: &mut dyn Transaction, of: Subject<'_>, claim: &Covered) -> Result<()> {
    let Interval { since, until } = claim.interval;
    tx.execute(
        common!("coverage_add"),
        args![of.relay, of.filter, since, until, claim.method.as_str(), claim.proven_at],
    )
    .await?;
    Ok(())
}

/// Returns the proven parts of a span, by any method.
async fn claims(tx: &mut dyn Transaction, of: Subject<'_>, span: Interval) -> Result<IntervalSet> {
    let rows = tx.rows(common!("coverage_overlapping"), args![of.relay, of.filter, span.until, span.since]).await?;
    rows.iter().map(|row| interval(row.int(0)?, row.int(1)?)).collect()
}

/// Removes and returns the claims that overlap a span.
async fn take_claims(tx: &mut dyn Transaction, of: Subject<'_>, span: Interval) -> Result<Vec<Covered>> {
    let rows =
        tx.rows(common!("coverage_take_overlapping"), args![of.relay, of.filter, span.until, span.since]).await?;
    rows.iter().map(|row| claim(row, 0)).collect()
}

/// Removes a span from the gaps that overlap it.
async fn cut_gaps(tx: &mut dyn Transaction, of: Subject<'_>, span: Interval) -> Result<()> {
    let cut = tx.rows(common!("gap_take_overlapping"), args![of.relay, of.filter, span.until, span.since]).await?;
    for row in cut {
        let old = gap(&row, 0)?;
        for rest in old.interval.minus(span) {
            insert_gap(tx, of, &Gap { interval: rest, ..old.clone() }).await?;
        }
    }
    Ok(())
}

async fn insert_gap(tx: &mut dyn Transaction, of: Subject<'_>, gap: &Gap) -> Result<()> {
    let Interval { since, until } = gap.interval;
    tx.execute(
        common!("gap_add"),
        args![of.relay, of.filter, since, until, gap.reason.as_str(), gap.count, gap.tried_at],
    )
    .await?;
    Ok(())
}

/// Reads the columns since, until, method and proven_at, the first of them at `place`.
fn claim(row: &Row, place: usize) -> Result<Covered> {
    Ok(Covered {
        interval: interval(row.int(place)?, row.int(place + 1)?)?,
        method: row.text(place + 2)?.parse()?,
        proven_at: row.int(place + 3)?,
    })
}

/// Reads the columns since, until, reason, count and tried_at, the first of them at `place`.
fn gap(row: &Row, place: usize) -> Result<Gap> {
    Ok(Gap {
        interval: interval(row.int(place)?, row.int(place + 1)?)?,
        reason: row.text(place + 2)?.parse()?,
        count: row.opt_int(place + 3)?,
        tried_at: row.int(place + 4)?,
    })
}

/// Groups rows, ordered by relay, filter and time, into a report per relay and filter.
pub(crate) fn reports(covered: &[Row], gaps: &[Row]) -> Result<Vec<CoverageReport>> {
    let mut reports = BTreeMap::new();
    let new = |(relay, filter): (String, String)| CoverageReport { relay, filter, covered: vec![], gaps: vec![] };
    for row in covered {
        let key = (row.text(0)?, row.text(1)?);
        reports.entry(key.clone()).or_insert_with(|| new(key)).covered.push(claim(row, 2)?);
    }
    for row in gaps {
        let key = (row.text(0)?, row.text(1)?);
        reports.entry(key.clone()).or_insert_with(|| new(key)).gaps.push(gap(row, 2)?);
    }
    Ok(reports.into_values().collect())
}
