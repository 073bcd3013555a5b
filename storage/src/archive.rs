//! What the rest of the agent may ask of the archive.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use async_trait::async_trait;
use brotr_core::Event;
use nostr::{EventId, Filter};

use crate::backup::Counts;
use crate::rows::{Batch, Cursor, Stats, Stored};
use crate::stores::{
    CheckStore, CoverageStore, JobStore, LeaseStore, OutboxStore, PaymentStore, RelayStore, StateStore,
};
use crate::{StorageError, View};

type Result<T> = std::result::Result<T, StorageError>;

/// What an archive keeps of an event. It is settled when the archive is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Everything that was signed.
    #[default]
    Bigbrotr,
    /// Id, author, date, kind and tag values; neither the other tags nor content nor signature.
    Lilbrotr,
}

impl Profile {
    /// The word it is configured and stored as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bigbrotr => "bigbrotr",
            Self::Lilbrotr => "lilbrotr",
        }
    }

    /// Whether an archive that keeps `kept` can be opened as this profile.
    pub(crate) fn check(self, kept: &str) -> Result<()> {
        let kept: Self = kept.parse()?;
        if kept == self { Ok(()) } else { Err(StorageError::Profile { kept, asked: self }) }
    }

    /// Whether what was asked for can be had from this archive.
    pub(crate) fn keeps_contents(self) -> Result<()> {
        match self {
            Self::Bigbrotr => Ok(()),
            Self::Lilbrotr => Err(StorageError::NoContents),
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = StorageError;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "bigbrotr" => Ok(Self::Bigbrotr),
            "lilbrotr" => Ok(Self::Lilbrotr),
            other => Err(StorageError::Damaged { what: "profile", detail: other.to_owned() }),
        }
    }
}

/// How an archive is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// What it keeps.
    pub profile: Profile,
    /// Whether the text of kinds 0, 1 and 30023 is indexed (NIP-50). Turning it on indexes what is there.
    pub search: bool,
}

impl Options {
    /// Returns true if the text of events is indexed. An archive that keeps no contents keeps none of their words either.
    pub(crate) fn indexes_text(self) -> bool {
        self.search && self.profile == Profile::Bigbrotr
    }

    /// Whether what is searched for can be found in this archive.
    pub(crate) fn can_search(self, filters: &[Filter]) -> Result<()> {
        if filters.iter().all(|filter| filter.search.is_none()) {
            return Ok(());
        }
        self.profile.keeps_contents()?;
        if self.search { Ok(()) } else { Err(StorageError::NoSearch) }
    }
}

/// Events: what each backend does in its own way.
#[async_trait]
pub trait EventStore: std::fmt::Debug + Send + Sync {
    /// Which of these ids are stored. Waits while the database is away.
    async fn known(&self, ids: &[EventId]) -> Result<HashSet<EventId>>;

    /// Stores a batch in one transaction: events, sightings, coverage and gaps, or none of them. Waits while the disk is
    /// full or the database away, and says so in the log.
    async fn store(&self, batch: Batch) -> Result<Stored>;

    /// One page of the events that a filter asks for, newest first, lowest id first within a second. The filter's
    /// own `limit` counts from its first page, so callers that page keep the count.
    async fn page(&self, filter: &Filter, view: View, after: Option<Cursor>, limit: usize) -> Result<Vec<Event>>;

    /// How many distinct events any of these filters asks for, of those seen on any of these relays; with no relays,
    /// of all. `limit` plays no part (NIP-45).
    async fn count(&self, filters: &[Filter], view: View, relays: &[String]) -> Result<u64>;

    /// Ids and times of the events that a filter asks for, oldest first, for NIP-77.
    async fn ids(&self, filter: &Filter, view: View) -> Result<Vec<(EventId, i64)>>;

    /// Events in the order they were stored, after the one numbered `after`. The number never decreases from one
    /// commit to the next, so a reader that remembers it misses nothing.
    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>>;

    /// The number after which only what is stored from now on comes, for [`EventStore::stored_after`].
    async fn last_stored(&self) -> Result<i64>;

    /// Removes the events that a filter asks for, with their sightings, oldest first and at most `most`; says how many.
    /// What they deleted or replaced stays hidden. Done in portions, each a transaction between which others may write.
    async fn remove(&self, filter: &Filter, most: u64) -> Result<u64>;

    /// Removes all events, with everything they hid, in one transaction.
    async fn clear(&self) -> Result<()>;

    /// The archive in numbers.
    async fn stats(&self) -> Result<Stats>;
}

/// Which relays hold which events.
#[async_trait]
pub trait SightingStore: std::fmt::Debug + Send + Sync {
    /// The relays that hold each of these events.
    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>>;
}

/// A row that a statement of somebody's own gave: column names first, then values. Binary values are hexadecimal text.
pub type SqlRow = Vec<serde_json::Value>;

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
    /// Writes all of the archive, as it is at one moment, to a file that is not there yet, and looks the file through.
    /// The key is not in it.
    async fn backup(&self, target: &Path) -> Result<Counts>;

    /// Runs a statement of somebody's own, which may only read, and sends its rows one by one.
    async fn sql(&self, statement: &str, rows: tokio::sync::mpsc::Sender<SqlRow>) -> Result<()>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;

    /// Closes the connections, having let open transactions end.
    async fn close(&self);

    /// `SQLite` or `PostgreSQL`.
    fn backend(&self) -> &'static str;
}
