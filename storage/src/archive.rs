//! The archive's interface to the rest of the agent.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use async_trait::async_trait;
use brotr_core::{Event, Offset, Sketch};
use nostr::{EventId, Filter};

use crate::batch::{Batch, Stored};
use crate::new_events::NewEvents;
use crate::prepare::Preparer;
use crate::rows::Counts;
use crate::rows::{Cursor, Stats};
use crate::stores::{
    CheckStore, CoverageStore, JobStore, LeaseStore, OutboxStore, PaymentStore, RelayStore, StateStore,
};
use crate::{StorageError, View};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores and queries events.
#[async_trait]
pub trait EventStore: std::fmt::Debug + Send + Sync {
    /// Returns those of the ids that are stored. Waits while the database is away.
    async fn known(&self, ids: &[EventId]) -> Result<HashSet<EventId>>;

    /// Stores a batch in one transaction: events, sightings, coverage and gaps, or none of them. Retries, with a log line,
    /// while the disk is full or the database is away.
    async fn store(&self, batch: Batch) -> Result<Stored>;

    /// Returns the preparer of events for this archive: a batch of events that were prepared on another thread is stored sooner.
    fn preparer(&self) -> Preparer;

    /// Returns a handle that waits for events that are stored from now on. [`EventStore::stored_after`] reads them.
    fn new_events(&self) -> NewEvents;

    /// Returns one page of the events that match a filter, newest first, lowest id first within a second. The filter's own
    /// `limit` counts from its first page, so callers that page keep the count.
    async fn page(&self, filter: &Filter, view: View, after: Option<Cursor>, limit: usize) -> Result<Vec<Event>>;

    /// Counts the distinct events that match any of the filters and were seen on any of the relays; without relays, all that
    /// match. `limit` is ignored (NIP-45).
    async fn count(&self, filters: &[Filter], view: View, relays: &[String]) -> Result<u64>;

    /// Counts the events that match a filter, and sketches their authors (NIP-45). `limit` is ignored.
    async fn sketch(&self, filter: &Filter, view: View, offset: Offset) -> Result<(u64, Sketch)>;

    /// Returns ids and times of the events that match a filter, oldest first, for NIP-77.
    async fn ids(&self, filter: &Filter, view: View) -> Result<Vec<(EventId, i64)>>;

    /// Returns events in the order in which they were stored, after number `after`. Numbers never decrease from one commit to
    /// the next, so a reader that remembers the last one misses nothing.
    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>>;

    /// Returns the number of the last stored event, for [`EventStore::stored_after`].
    async fn last_stored(&self) -> Result<i64>;

    /// Removes at most `most` of the events that match a filter, oldest first, with their sightings; returns how many. What
    /// they deleted or replaced stays hidden. Each portion is a transaction, between which others may write.
    async fn remove(&self, filter: &Filter, most: u64) -> Result<u64>;

    /// Removes all events and what they hid, in one transaction.
    async fn clear(&self) -> Result<()>;

    /// Returns statistics of the archive.
    async fn stats(&self) -> Result<Stats>;

    /// Fails if the database does not answer.
    async fn ping(&self) -> Result<()>;
}

/// Queries which relays hold which events.
#[async_trait]
pub trait SightingStore: std::fmt::Debug + Send + Sync {
    /// Returns the relays that hold each of these events.
    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>>;

    /// Returns the relays that were seen to hold each of these events, and later not to. Some may hold it again.
    async fn lost(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>>;
}

/// One row of the result of an ad-hoc statement; the first row sent has the names of the columns. Binary values are
/// hexadecimal text.
pub type SqlRow = Vec<serde_json::Value>;

/// A setting of a database server that slows down the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the server's configuration.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The recommended value.
    pub recommended: String,
}

/// The archive: every store, on one database.
#[async_trait]
pub trait Archive:
    EventStore
    + SightingStore
    + RelayStore
    + CheckStore
    + CoverageStore
    + LeaseStore
    + StateStore
    + OutboxStore
    + JobStore
    + PaymentStore
    + std::fmt::Debug
{
    /// Writes a consistent copy of the archive, without the key, to a new file, and verifies the file.
    async fn backup(&self, target: &Path) -> Result<Counts>;

    /// Runs an ad-hoc read-only statement and sends its rows one by one.
    async fn sql(&self, statement: &str, rows: tokio::sync::mpsc::Sender<SqlRow>) -> Result<()>;

    /// Returns the server's settings that slow down ingest, with recommended values.
    async fn costly_settings(&self) -> Result<Vec<Setting>>;

    /// Waits for open transactions and closes the connections.
    async fn close(&self);

    /// Returns `SQLite` or `PostgreSQL`.
    fn backend(&self) -> &'static str;
}
