//! Leases: which agent works on which relay, and which one leads.

use async_trait::async_trait;

use super::relay::{relay, relay_args};
use crate::StorageError;
use crate::database::{Database, Transaction, args};
use crate::query::{common, each_backend, postgres_only};
use crate::rows::{Lease, Relay, RelayQuery, Task};

type Result<T> = std::result::Result<T, StorageError>;

/// Leases of relays and of named roles, by the clock of the database.
#[async_trait]
pub trait LeaseStore: std::fmt::Debug + Send + Sync {
    /// Claims relays that are due at `now` and not leased, those due longest first. `now` is the caller's time: a database whose
    /// clock is ahead would claim every relay again and again. Leases end by the clock of the database, which all agents share.
    /// A service that starts again releases what it had claimed, see [`LeaseStore::release`].
    async fn claim(&self, task: Task, query: &RelayQuery, now: i64, lease: Lease) -> Result<Vec<Relay>>;

    /// Extends the lease of a relay from now on; returns false if this holder has lost it.
    async fn renew(&self, task: Task, url: &str, lease: Lease) -> Result<bool>;

    /// Releases the lease of a relay, if this holder has it; without a relay, those of all relays.
    async fn release(&self, task: Task, url: Option<&str>, holder: i64) -> Result<()>;

    /// Releases every named lease of this holder, see [`LeaseStore::try_acquire_leader`].
    async fn release_leaders(&self, holder: i64) -> Result<()>;

    /// Acquires or renews the named leader lease; returns true if it is held.
    async fn try_acquire_leader(&self, name: &str, lease: Lease) -> Result<bool>;
}

/// Locks all relays, or those that a holder claimed, in the order of their numbers. Every transaction that writes several does
/// so: two that lock the same rows in different orders deadlock. SQLite has one writer.
pub(crate) async fn lock_relays(tx: &mut dyn Transaction, holder: Option<i64>) -> Result<()> {
    tx.rows(postgres_only!("relay_lock"), args![holder]).await?;
    Ok(())
}

#[async_trait]
impl<D: Database> LeaseStore for D {
    async fn claim(&self, task: Task, query: &RelayQuery, now: i64, lease: Lease) -> Result<Vec<Relay>> {
        let (sql, query) = match task {
            Task::Check => (each_backend!("lease_claim_check"), RelayQuery { check_due: Some(now), ..query.clone() }),
            Task::Sync => (each_backend!("lease_claim_sync"), RelayQuery { sync_due: Some(now), ..query.clone() }),
        };
        let mut args = relay_args(&query);
        args.extend(args![lease.holder, lease.seconds]);
        let mut tx = self.begin().await?;
        let claimed = tx.rows(sql, args).await?;
        tx.commit().await?;
        claimed.iter().map(relay).collect()
    }

    async fn renew(&self, task: Task, url: &str, lease: Lease) -> Result<bool> {
        let sql = match task {
            Task::Check => each_backend!("lease_renew_check"),
            Task::Sync => each_backend!("lease_renew_sync"),
        };
        let mut tx = self.begin().await?;
        let renewed = tx.execute(sql, args![url, lease.holder, lease.seconds]).await?;
        tx.commit().await?;
        Ok(renewed == 1)
    }

    async fn release(&self, task: Task, url: Option<&str>, holder: i64) -> Result<()> {
        let sql = match task {
            Task::Check => common!("lease_release_check"),
            Task::Sync => common!("lease_release_sync"),
        };
        let mut tx = self.begin().await?;
        if url.is_none() {
            lock_relays(tx.as_mut(), Some(holder)).await?;
        }
        tx.execute(sql, args![url.unwrap_or_default(), holder]).await?;
        tx.commit().await
    }

    async fn release_leaders(&self, holder: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.execute(common!("leader_release"), args![holder]).await?;
        tx.commit().await
    }

    async fn try_acquire_leader(&self, name: &str, lease: Lease) -> Result<bool> {
        let mut tx = self.begin().await?;
        let acquired = tx.execute(each_backend!("leader_acquire"), args![name, lease.holder, lease.seconds]).await?;
        tx.commit().await?;
        Ok(acquired == 1)
    }
}
