//! Which relays hold events, or held them.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use nostr::EventId;

use super::PostgresArchive;
use super::key::event_key;
use crate::StorageError;
use crate::archive::SightingStore;
use crate::query::postgres;

#[async_trait]
impl SightingStore for PostgresArchive {
    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        self.relays_of(ids, postgres!("sighting_holders")).await
    }

    async fn lost(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        self.relays_of(ids, postgres!("lost_relays")).await
    }
}

impl PostgresArchive {
    /// Returns the relays that a statement has of each of these events.
    async fn relays_of(
        &self,
        ids: &[EventId],
        statement: &'static str,
    ) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        let mut reader = self.server.reader().await?;
        let rows = sqlx::query_as(statement)
            .bind(ids.iter().map(event_key).collect::<Vec<_>>())
            .persistent(false)
            .fetch_all(reader.connection())
            .await;
        let rows: Vec<(i64, String)> = reader.ended(rows).await?;
        let by_key: HashMap<i64, EventId> = ids.iter().map(|id| (event_key(id), *id)).collect();
        let mut relays = BTreeMap::<EventId, Vec<String>>::new();
        for (k, url) in rows {
            relays.entry(by_key[&k]).or_default().push(url);
        }
        Ok(relays)
    }
}
