//! What the rest of the agent may ask of the archive.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use async_trait::async_trait;
use brotr_core::{Event, Network};
use nostr::{EventId, Filter, PublicKey};

use crate::backup::Counts;
use crate::rows::{
    Aftermath, Batch, CheckRecord, CoverageReport, Cursor, Deliveries, Delivery, Document, Lane, Lease, Outgoing,
    Overview, Progress, Relay, RelayQuery, Stats, Stored, Task, Visit,
};
use crate::{Jobs, StorageError, View};

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

/// Events and their sightings: what each backend does in its own way.
#[async_trait]
pub trait Events: Send + Sync {
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

    /// The relays that hold each of these events.
    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>>;

    /// Events in the order they were stored, after the one numbered `after`. The number never decreases from one
    /// commit to the next, so a reader that remembers it misses nothing.
    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>>;

    /// The number after which only what is stored from now on comes, for [`Events::stored_after`].
    async fn last_stored(&self) -> Result<i64>;

    /// Removes the events that a filter asks for, with their sightings, oldest first and at most `most`; says how many.
    /// What they deleted or replaced stays hidden. Done in portions, each a transaction between which others may write.
    async fn remove(&self, filter: &Filter, most: u64) -> Result<u64>;

    /// Removes all events, with everything they hid, in one transaction.
    async fn clear(&self) -> Result<()>;

    /// The archive in numbers.
    async fn stats(&self) -> Result<Stats>;
}

/// Relays, documents, coverage, service state and the outbox.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Adds relays that are not yet known; says how many were new.
    async fn add_relays(&self, relays: &[(String, Network)], now: i64) -> Result<usize>;

    /// Lists relays by address, or those due longest first where a due time is asked for.
    async fn relays(&self, query: &RelayQuery) -> Result<Vec<Relay>>;

    /// The same relays with what their last checks found.
    async fn overview(&self, query: &RelayQuery) -> Result<Vec<Overview>>;

    /// Claims relays that are due for a task, those due longest first, by the clock of the database. Nobody gets them again until the
    /// lease expires or is released. A service that starts again releases what it had claimed, see [`Ledger::release`].
    async fn claim(&self, task: Task, query: &RelayQuery, lease: Lease) -> Result<Vec<Relay>>;

    /// Makes the lease of a relay longer, from now on; `false` when it is no longer this one's.
    async fn renew(&self, task: Task, url: &str, lease: Lease) -> Result<bool>;

    /// Gives up the lease of a relay, if this holder has it; without a relay, those of all relays.
    async fn release(&self, task: Task, url: Option<&str>, holder: i64) -> Result<()>;

    /// Gives up every named lease of this holder, see [`Ledger::lead`].
    async fn resign(&self, holder: i64) -> Result<()>;

    /// Whether this one is, for so long, who does what is done by one at a time.
    async fn lead(&self, name: &str, lease: Lease) -> Result<bool>;

    /// One relay.
    async fn relay(&self, url: &str) -> Result<Option<Relay>>;

    /// Keeps what a check found, with its aftermath, in one transaction. The relay is added when it is not known.
    async fn record_check(&self, relay: (&str, Network), check: &CheckRecord) -> Result<()>;

    /// When to check a relay next.
    async fn set_check_due(&self, url: &str, due_at: i64) -> Result<()>;

    /// The checks of a relay since a time, newest first, at most `limit`.
    async fn visits(&self, url: &str, since: i64, limit: i64) -> Result<Vec<Visit>>;

    /// Forgets checks from before a time, but the newest of each relay and the newest that brought its document; says how
    /// many.
    async fn forget_visits(&self, before: i64) -> Result<u64>;

    /// What became of what was sent, by relay.
    async fn deliveries(&self) -> Result<Vec<Deliveries>>;

    /// The newest document of each type of a relay.
    async fn documents(&self, url: &str) -> Result<Vec<Document>>;

    /// When to synchronize a relay next.
    async fn set_sync_due(&self, url: &str, due_at: i64) -> Result<()>;

    /// Coverage and gaps of one relay, or of all.
    async fn coverage(&self, url: Option<&str>) -> Result<Vec<CoverageReport>>;

    /// How far the archive is: coverage in numbers.
    async fn progress(&self, now: i64) -> Result<Progress>;

    /// Moves what lies in the future back to `now`, in one transaction, after a clock was ahead: coverage and gaps, the times
    /// of checks, and the due times that were set meanwhile or lie more than `longest_wait` seconds ahead. Returns the number
    /// of rows changed.
    async fn clamp_future(&self, now: i64, longest_wait: i64) -> Result<u64>;

    /// Records that the agent with this key writes to the archive: what it publishes is not the network's.
    async fn register_agent(&self, key: &PublicKey, now: i64) -> Result<()>;

    /// A value that a service left for itself.
    async fn state(&self, service: &str, kind: &str, key: &str) -> Result<Option<String>>;

    /// All values of one kind that a service left for itself, by key.
    async fn states(&self, service: &str, kind: &str) -> Result<BTreeMap<String, String>>;

    /// Leaves a value for a service's next run.
    async fn set_state(&self, service: &str, kind: &str, key: &str, value: &str) -> Result<()>;

    /// Queues events for sending; pairs of event and relay that are queued already are left alone.
    async fn enqueue(&self, outgoing: &[Outgoing], now: i64) -> Result<()>;

    /// Queues events for sending and keeps values, in one transaction.
    async fn enqueue_with_state(&self, aftermath: &Aftermath, now: i64) -> Result<()>;

    /// The relays and lanes on which something is due, those that waited longest coming first.
    async fn due_relays(&self, now: i64) -> Result<Vec<(String, Lane)>>;

    /// What is due to a relay on a lane, in the order in which it was queued.
    async fn due_outgoing(&self, relay: &str, lane: Lane, now: i64, limit: i64) -> Result<Vec<Outgoing>>;

    /// Keeps how sending ended. A delay is one of everything that waits for the same relay.
    async fn delivered(&self, ended: &[(Outgoing, Delivery)], now: i64) -> Result<()>;

    /// Forgets jobs that ended before this time, and events that were queued before it, sent or not.
    async fn prune(&self, before: i64) -> Result<u64>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;

    /// Closes the connections, having let open transactions end.
    async fn close(&self);
}

/// A row that a statement of somebody's own gave: column names first, then values. Binary values are hexadecimal text.
pub type SqlRow = Vec<serde_json::Value>;

/// The archive: [`Events`], [`Ledger`] and [`Jobs`] on one database.
#[async_trait]
pub trait Archive: Events + Ledger + Jobs + std::fmt::Debug {
    /// Writes all of the archive, as it is at one moment, to a file that is not there yet, and looks the file through.
    /// The key is not in it.
    async fn backup(&self, target: &Path) -> Result<Counts>;

    /// Runs a statement of somebody's own, which may only read, and sends its rows one by one.
    async fn sql(&self, statement: &str, rows: tokio::sync::mpsc::Sender<SqlRow>) -> Result<()>;

    /// `SQLite` or `PostgreSQL`.
    fn backend(&self) -> &'static str;
}
