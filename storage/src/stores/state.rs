//! Values that services keep for their next run.

use std::collections::BTreeMap;

use async_trait::async_trait;
use nostr::PublicKey;

use crate::StorageError;
use crate::database::{Database, Transaction, args};
use crate::query::common;

type Result<T> = std::result::Result<T, StorageError>;

/// Values that services keep, and the agents that write to the archive.
#[async_trait]
pub trait StateStore: std::fmt::Debug + Send + Sync {
    /// A value that a service left for itself.
    async fn state(&self, service: &str, kind: &str, key: &str) -> Result<Option<String>>;

    /// All values of one kind that a service left for itself, by key.
    async fn states(&self, service: &str, kind: &str) -> Result<BTreeMap<String, String>>;

    /// Leaves a value for a service's next run.
    async fn set_state(&self, service: &str, kind: &str, key: &str, value: &str) -> Result<()>;

    /// Records that the agent with this key writes to the archive: what it publishes is not the network's.
    async fn register_agent(&self, key: &PublicKey, now: i64) -> Result<()>;
}

pub(super) async fn write_state(tx: &mut dyn Transaction, [service, kind, key, value]: [&str; 4]) -> Result<()> {
    tx.execute(common!("state_set"), args![service, kind, key, value]).await?;
    Ok(())
}

#[async_trait]
impl<D: Database> StateStore for D {
    async fn state(&self, service: &str, kind: &str, key: &str) -> Result<Option<String>> {
        let rows = self.rows(common!("state_get"), args![service, kind, key]).await?;
        rows.first().map(|row| row.text(0)).transpose()
    }

    async fn states(&self, service: &str, kind: &str) -> Result<BTreeMap<String, String>> {
        let rows = self.rows(common!("state_list"), args![service, kind]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
    }

    async fn set_state(&self, service: &str, kind: &str, key: &str, value: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        write_state(tx.as_mut(), [service, kind, key, value]).await?;
        tx.commit().await
    }

    async fn register_agent(&self, key: &PublicKey, now: i64) -> Result<()> {
        let sql = common!("agent_register");
        let mut tx = self.begin().await?;
        tx.execute(sql, args![key.to_bytes().to_vec(), now]).await?;
        tx.commit().await
    }
}
