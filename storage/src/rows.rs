//! What the archive takes and gives, as values. Times are unix seconds, durations milliseconds.

use brotr_core::{Covered, Gap, Interval, Network, RelayState, Verified, words};
use nostr::{EventId, PublicKey};
use serde::Serialize;

words! {
    /// What a document describes.
    DocumentType, "document type" {
        /// A relay information document (NIP-11), as received.
        Nip11 = "nip11",
        /// What a check found (the facts behind a NIP-66 event).
        Nip66 = "nip66",
    }
}

words! {
    /// Where a job stands.
    JobStatus, "job status" {
        /// Stored, not begun.
        Received = "received",
        /// Begun.
        Working = "working",
        /// Done, and its result held back until it is paid for.
        Unpaid = "unpaid",
        /// Ended with a result.
        Answered = "answered",
        /// Ended with an error.
        Failed = "failed",
        /// Taken back by the customer.
        Cancelled = "cancelled",
    }
}

/// A relay as the archive knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relay {
    /// The canonical address.
    pub url: String,
    /// How it is reached.
    pub network: Network,
    /// What the last check found.
    pub state: RelayState,
    /// When it was first heard of.
    pub discovered_at: i64,
    /// When it was last checked.
    pub checked_at: Option<i64>,
    /// Failed checks since the last good one.
    #[serde(skip)]
    pub failures: i64,
}

/// Which relays to list.
#[derive(Debug, Clone, Default)]
pub struct RelayQuery {
    /// Only these networks; empty for all.
    pub networks: Vec<Network>,
    /// Only these states; empty for all.
    pub states: Vec<RelayState>,
    /// Only relays whose next check is due at this time.
    pub check_due: Option<i64>,
    /// Only relays whose next synchronization is due at this time.
    pub sync_due: Option<i64>,
    /// Only addresses that contain this text; all when empty.
    pub contains: String,
    /// Only addresses that sort after this one: the last of the page before. Not together with a due time.
    pub after: Option<String>,
    /// The most rows.
    pub limit: i64,
}

/// What is done with relays by one agent at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Checking.
    Check,
    /// Synchronizing.
    Sync,
}

impl Task {
    /// The word it is logged as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Sync => "sync",
        }
    }
}

/// For how long something is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whose: a number of one process.
    pub holder: i64,
    /// Seconds.
    pub seconds: i64,
}

/// A relay with what its last check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The relay.
    pub relay: Relay,
    /// Round trips of opening, reading and writing, where measured, in milliseconds.
    pub rtt_ms: [Option<i64>; 3],
    /// The facts that were found, as JSON.
    pub nip66: Option<String>,
}

/// What one check found, to be kept.
#[derive(Debug, Clone)]
pub struct CheckRecord {
    /// When the check began.
    pub at: i64,
    /// What the relay is now. One that is an alias answered too.
    pub state: RelayState,
    /// When to check again.
    pub due_at: i64,
    /// The NIP-11 document as received.
    pub nip11: Option<String>,
    /// What was found, as JSON without anything that changes from check to check.
    pub nip66: String,
    /// Round trips: open, read, write.
    pub rtt_ms: [Option<i64>; 3],
    /// For how many seconds the look-up of its name may be kept.
    pub dns_ttl: Option<i64>,
    /// What follows from it, written in the same transaction.
    pub aftermath: Aftermath,
}

/// Events to send and values that services keep, written in one transaction: a crash leaves both or neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Events to queue for sending.
    pub outgoing: Vec<Outgoing>,
    /// Values to keep.
    pub states: Vec<ServiceState>,
}

/// A value that a service keeps for its next run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// The service.
    pub service: &'static str,
    /// What kind of value it is.
    pub kind: &'static str,
    /// Which one of that kind.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Default for CheckRecord {
    fn default() -> Self {
        Self {
            at: 0,
            state: RelayState::Down,
            due_at: 0,
            nip11: None,
            nip66: "{}".into(),
            rtt_ms: [None; 3],
            dns_ttl: None,
            aftermath: Aftermath::default(),
        }
    }
}

/// One check of a relay, of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Visit {
    /// When.
    pub at: i64,
    /// Whether the relay answered as one.
    pub up: bool,
    /// Round trips: open, read, write.
    pub rtt_ms: [Option<i64>; 3],
}

/// What became of what was sent to a relay, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deliveries {
    /// The relay.
    pub relay: String,
    /// Events that it took.
    pub accepted: i64,
    /// Events that it refused, or that were given up.
    pub refused: i64,
    /// Events that wait to be sent.
    pub waiting: i64,
    /// What went wrong last, if anything did.
    pub trouble: Option<String>,
}

/// The newest documents of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// What it describes.
    #[serde(rename = "type")]
    pub kind: DocumentType,
    /// When it was last seen so.
    pub generated_at: i64,
    /// The document.
    pub data: String,
    /// Round trips measured with it: open, read, write.
    pub rtt_ms: [Option<i64>; 3],
}

/// Coverage and gaps of one relay under one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageReport {
    /// The relay's address.
    pub relay: String,
    /// The filter, as JSON; `{}` is everything.
    pub filter: String,
    /// What is proven, in order of time.
    pub covered: Vec<Covered>,
    /// What is not, in order of time.
    pub gaps: Vec<Gap>,
}

/// How far the archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Relays of which anything is proven.
    pub relays: i64,
    /// Seconds from the end of what is proven of a relay to now, on average of those that are up; nothing where there are none.
    pub lag: Option<i64>,
    /// Gaps.
    pub gaps: i64,
}

/// What one relay gave, to be kept in one transaction together with the coverage that claims it.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Where the events were seen; `None` when they came from a file.
    pub relay: Option<(String, Network)>,
    /// When they were seen.
    pub seen_at: i64,
    /// Verified events; those already stored are taken as sightings.
    pub events: Vec<Verified>,
    /// Ids that are known to be stored: sightings only.
    pub known: Vec<EventId>,
    /// Ids that the relay did not hold at `seen_at`: where it was seen to before, it no longer does.
    pub gone: Vec<EventId>,
    /// The filter that the claims are about, as JSON.
    pub filter: String,
    /// What is proven complete by this batch and what came before.
    pub covered: Vec<Covered>,
    /// What could not be proven. Where a gap and a claim of one batch overlap, the gap counts; what was proven before stays.
    pub gaps: Vec<Gap>,
    /// Spans whose earlier proof turned out wrong, under the same filter. They are no longer covered, unless this batch proves
    /// them again.
    pub refuted: Vec<Interval>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// Events that were new.
    pub stored: usize,
    /// Events that were there already.
    pub known: usize,
}

/// Where to go on in a list of events, newest first, lowest id first within a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last event's `created_at`.
    pub created_at: i64,
    /// The last event's id.
    pub id: EventId,
}

/// A NIP-90 job request to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The request event's id.
    pub id: EventId,
    /// The request's kind, 5000 to 5999.
    pub kind: u16,
    /// Who asked.
    pub customer: PublicKey,
    /// The request event, as JSON.
    pub request: String,
    /// When it arrived here.
    pub received_at: i64,
    /// Where it stands.
    pub status: JobStatus,
    /// The job that it waited for, if it ever did.
    pub waits_for: Option<EventId>,
    /// Who comes first: the lower. What the customer asked for in ten minutes, and a thousand if they were never answered; found out
    /// when it is kept.
    pub rank: i64,
}

impl Job {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status, JobStatus::Received | JobStatus::Working | JobStatus::Unpaid)
    }
}

/// How somebody stands who asks for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Their jobs that have not ended.
    pub open: u64,
    /// Whether they were ever answered, as far as it is remembered.
    pub known: bool,
    /// Jobs that wait, of all who were not when they asked.
    pub newcomers: u64,
}

/// A bolt11 invoice that a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its payment hash, in hexadecimal.
    pub hash: String,
    /// The job.
    pub job: EventId,
    /// What it asks for, in millisats.
    pub msat: u64,
    /// The invoice as wallets read it.
    pub bolt11: String,
    /// The feedback by which it was sent, which may be zapped instead.
    pub feedback: EventId,
    /// Unix seconds.
    pub expires_at: i64,
}

/// What a job costs, and the invoice over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// In millisats.
    pub price: u64,
    /// The invoice.
    pub invoice: Invoice,
}

/// Money that came in for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What tells it from others: an invoice's payment hash, or the id of a zap receipt.
    pub source: String,
    /// The job.
    pub job: EventId,
    /// How much, in millisats.
    pub msat: u64,
}

/// What a payment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paid {
    /// Nothing: it was known, or there is no such job.
    Known,
    /// So much is missing still, in millisats.
    Missing(u64),
    /// The job is paid for, and answered.
    Settled {
        /// What came beyond its price.
        over: u64,
    },
    /// It came for a job that waits for no money: one paid before, or taken back.
    InVain,
}

/// One who asked for jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// Who.
    pub pubkey: PublicKey,
    /// Jobs that are remembered,
    pub jobs: i64,
    /// of which so many failed
    pub failed: i64,
    /// and so many wait for money.
    pub unpaid: i64,
    /// What they paid, ever, in millisats.
    pub msat: i64,
    /// When they last asked or paid.
    pub last_at: i64,
}

/// What was asked for and what it brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revenue {
    /// The kind of job.
    pub kind: i64,
    /// Jobs that are remembered,
    pub jobs: i64,
    /// of which so many were answered,
    pub answered: i64,
    /// so many failed
    pub failed: i64,
    /// and so many wait for money.
    pub unpaid: i64,
    /// Payments, ever,
    pub payments: i64,
    /// and their sum in millisats.
    pub msat: i64,
}

/// An event of ours on its way to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The event's id.
    pub event: EventId,
    /// The relay's address.
    pub relay: String,
    /// The event, as JSON.
    pub body: String,
    /// What it is the newest version of, where it is replaceable: one that still waits is replaced by the next.
    pub slot: Option<String>,
    /// How often sending was tried.
    pub attempts: i64,
    /// What goes first: the lower.
    pub rank: i64,
}

/// What is sent to a relay goes on two lanes, so that nobody who waits for an answer waits behind a sweep of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Answers, and whatever else stands for itself.
    Answers,
    /// The newest versions of what is replaceable: measurements, announcements.
    Versions,
}

/// How sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The relay said OK.
    Accepted,
    /// The relay refused it, or will never be reached; not tried again.
    Refused(String),
    /// The relay would not take this event now; to be tried again at `due_at`. Others go on.
    Postponed {
        /// What went wrong.
        reason: String,
        /// When to try again.
        due_at: i64,
    },
    /// The relay takes nothing now; this and all that waits for it is to be tried again at `due_at`.
    Delayed {
        /// What went wrong.
        reason: String,
        /// When to try again.
        due_at: i64,
    },
}

/// The archive in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Distinct events.
    pub events: i64,
    /// Pairs of event and relay.
    pub sightings: i64,
    /// Distinct authors.
    pub pubkeys: i64,
    /// Relays by state.
    pub relays: std::collections::BTreeMap<String, i64>,
    /// Events by kind.
    pub kinds: std::collections::BTreeMap<i64, i64>,
    /// Jobs by status.
    pub jobs: std::collections::BTreeMap<String, i64>,
    /// Events of ours that wait to be sent.
    pub outbox: i64,
    /// The size of the database on disk.
    pub disk_bytes: i64,
    /// So much of it is free to be written again, where the database says so (SQLite).
    pub free_bytes: Option<i64>,
}
