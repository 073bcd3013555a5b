//! What a batch proves and what it could not prove, written in the batch's own transaction.

use std::collections::BTreeMap;

use crate::database::{Row, Transaction, args};
use crate::rows::{CoverageReport, Covered, Gap};
use crate::{Batch, Interval, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

fn interval(since: i64, until: i64) -> Result<Interval> {
    Interval::new(since, until)
        .ok_or_else(|| StorageError::Damaged { what: "interval", detail: format!("{since} to {until}") })
}

/// Writes the claims and gaps of a batch. A claim is merged with those it touches and takes its span out of the gaps;
/// a gap replaces the gaps it overlaps.
pub(crate) async fn write(tx: &mut dyn Transaction, relay: i64, batch: &Batch) -> Result<()> {
    let filter = batch.filter.as_str();
    for claim in &batch.covered {
        let (mut since, mut until, mut proven_at) = (claim.interval.since, claim.interval.until, claim.proven_at);
        let touching = tx
            .rows(
                "delete from coverage where relay = $1 and filter = $2 and method = $3 and since <= $4 and until >= $5 \
                 returning since, until, proven_at",
                args![relay, filter, claim.method.as_str(), until.saturating_add(1), since.saturating_sub(1)],
            )
            .await?;
        for row in touching {
            since = since.min(row.int(0)?);
            until = until.max(row.int(1)?);
            proven_at = proven_at.max(row.int(2)?);
        }
        tx.execute(
            "insert into coverage (relay, filter, since, until, method, proven_at) values ($1, $2, $3, $4, $5, $6)",
            args![relay, filter, since, until, claim.method.as_str(), proven_at],
        )
        .await?;
    }
    let spans = batch.covered.iter().map(|c| c.interval).chain(batch.gaps.iter().map(|g| g.interval));
    for span in spans {
        let cut = tx
            .rows(
                "delete from gap where relay = $1 and filter = $2 and since <= $3 and until >= $4 \
                 returning since, until, reason, count, tried_at",
                args![relay, filter, span.until, span.since],
            )
            .await?;
        for row in cut {
            let old = gap(&row, 0)?;
            for rest in old.interval.minus(span) {
                write_gap(tx, relay, filter, &Gap { interval: rest, ..old.clone() }).await?;
            }
        }
    }
    for gap in &batch.gaps {
        write_gap(tx, relay, filter, gap).await?;
    }
    Ok(())
}

async fn write_gap(tx: &mut dyn Transaction, relay: i64, filter: &str, gap: &Gap) -> Result<()> {
    let Interval { since, until } = gap.interval;
    tx.execute(
        "insert into gap (relay, filter, since, until, reason, count, tried_at) values ($1, $2, $3, $4, $5, $6, $7)",
        args![relay, filter, since, until, gap.reason.as_str(), gap.count, gap.tried_at],
    )
    .await?;
    Ok(())
}

/// The columns since, until, reason, count and tried_at, the first of them at `place`.
fn gap(row: &Row, place: usize) -> Result<Gap> {
    Ok(Gap {
        interval: interval(row.int(place)?, row.int(place + 1)?)?,
        reason: row.text(place + 2)?.parse()?,
        count: row.opt_int(place + 3)?,
        tried_at: row.int(place + 4)?,
    })
}

/// Gathers rows, each in order of relay, filter and time, into a report for each relay and filter.
pub(crate) fn reports(covered: &[Row], gaps: &[Row]) -> Result<Vec<CoverageReport>> {
    let mut reports = BTreeMap::new();
    let new = |(relay, filter): (String, String)| CoverageReport { relay, filter, covered: vec![], gaps: vec![] };
    for row in covered {
        let key = (row.text(0)?, row.text(1)?);
        let claim = Covered {
            interval: interval(row.int(2)?, row.int(3)?)?,
            method: row.text(4)?.parse()?,
            proven_at: row.int(5)?,
        };
        reports.entry(key.clone()).or_insert_with(|| new(key)).covered.push(claim);
    }
    for row in gaps {
        let key = (row.text(0)?, row.text(1)?);
        reports.entry(key.clone()).or_insert_with(|| new(key)).gaps.push(gap(row, 2)?);
    }
    Ok(reports.into_values().collect())
}
