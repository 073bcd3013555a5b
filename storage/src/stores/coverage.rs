//! Coverage of the history of relays.

use async_trait::async_trait;

use super::claims;
use super::future;
use super::lease::lock_relays;
use crate::StorageError;
use crate::database::{Database, Row, args};
use crate::query::{common, postgres_only};
use crate::rows::{CoverageReport, CoverageTotal, Progress};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores coverage, gaps and due times of synchronization.
#[async_trait]
pub trait CoverageStore: std::fmt::Debug + Send + Sync {
    /// Sets when a relay is synchronized next.
    async fn set_sync_due(&self, url: &str, due_at: i64) -> Result<()>;

    /// Returns coverage and gaps of one relay, or of all.
    async fn coverage(&self, url: Option<&str>) -> Result<Vec<CoverageReport>>;

    /// Returns the progress of archiving.
    async fn progress(&self, now: i64) -> Result<Progress>;

    /// Returns the number of claims of all relays by method, most relays first.
    async fn claims_by_method(&self) -> Result<Vec<CoverageTotal>>;

    /// Returns the number of gaps of all relays by reason, most relays first.
    async fn gaps_by_reason(&self) -> Result<Vec<CoverageTotal>>;

    /// Moves timestamps after `now` back to `now`, in one transaction, after a clock was ahead: coverage and gaps, the times of
    /// checks, and the due times that were set meanwhile or lie more than `longest_wait` seconds ahead. Returns the number of
    /// changed rows.
    async fn clamp_future(&self, now: i64, longest_wait: i64) -> Result<u64>;
}

fn total(row: &Row) -> Result<CoverageTotal> {
    Ok(CoverageTotal { name: row.text(0)?, relays: row.int(1)?, spans: row.int(2)? })
}

#[async_trait]
impl<D: Database> CoverageStore for D {
    async fn set_sync_due(&self, url: &str, due_at: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.execute(common!("relay_set_sync_due"), args![url, due_at]).await?;
        tx.commit().await
    }

    async fn coverage(&self, url: Option<&str>) -> Result<Vec<CoverageReport>> {
        let url = url.unwrap_or_default();
        let covered = self.rows(common!("coverage_list"), args![url]).await?;
        let gaps = self.rows(common!("gap_list"), args![url]).await?;
        claims::reports(&covered, &gaps)
    }

    async fn progress(&self, now: i64) -> Result<Progress> {
        let rows = self.rows(common!("coverage_progress"), args![now]).await?;
        let row = rows.first().ok_or(StorageError::Damaged { what: "count", detail: "none".into() })?;
        Ok(Progress { relays: row.int(0)?, gaps: row.int(1)?, lag: row.opt_int(2)? })
    }

    async fn claims_by_method(&self) -> Result<Vec<CoverageTotal>> {
        self.rows(common!("coverage_by_method"), args![]).await?.iter().map(total).collect()
    }

    async fn gaps_by_reason(&self) -> Result<Vec<CoverageTotal>> {
        self.rows(common!("gap_by_reason"), args![]).await?.iter().map(total).collect()
    }

    async fn clamp_future(&self, now: i64, longest_wait: i64) -> Result<u64> {
        // Several agents share a PostgreSQL database, and its clock.
        let clock = self.rows(postgres_only!("clock"), args![]).await?;
        let now = now.max(clock.first().map_or(Ok(now), |row| row.int(0))?);
        if !future::is_marked(self, now, longest_wait).await? {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        lock_relays(tx.as_mut(), None).await?;
        let changed = future::clamp(tx.as_mut(), now, longest_wait).await?;
        tx.commit().await?;
        Ok(changed)
    }
}
