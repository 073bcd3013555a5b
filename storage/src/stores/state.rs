//! State that services keep for their next run.

use std::collections::BTreeMap;

use async_trait::async_trait;
use nostr::PublicKey;

use crate::StorageError;
use crate::database::{Database, Transaction, args};
use crate::query::common;

type Result<T> = std::result::Result<T, StorageError>;

/// Stores state of services, and the agents that write to the archive.
#[async_trait]
pub trait StateStore: std::fmt::Debug + Send + Sync {
    /// Returns a value of a service.
    async fn state(&self, service: &str, kind: &str, key: &str) -> Result<Option<String>>;

    /// Returns all values of one kind of a service, by key.
    async fn states(&self, service: &str, kind: &str) -> Result<BTreeMap<String, String>>;

    /// Stores a value of a service.
    async fn set_state(&self, service: &str, kind: &str, key: &str, value: &str) -> Result<()>;

    /// Records that the agent with this key writes to the archive: its own events are not the network's.
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
