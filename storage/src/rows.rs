//! The values that stores take and return. Times are unix seconds, durations milliseconds.

use brotr_core::{Covered, Gap, Network, RelayState, words};
use nostr::{EventId, PublicKey};
use serde::Serialize;

words! {
    /// What a document describes.
    DocumentType, "document type" {
        /// A relay information document (NIP-11), as received.
        Nip11 = "nip11",
        /// The result of a check (the facts behind a NIP-66 event).
        Nip66 = "nip66",
    }
}

words! {
    /// The status of a job.
    JobStatus, "job status" {
        /// Stored, not started.
        Received = "received",
        /// Started.
        Working = "working",
        /// Done; the result is held back until it is paid.
        Unpaid = "unpaid",
        /// Ended with a result.
        Answered = "answered",
        /// Ended with an error.
        Failed = "failed",
        /// Cancelled by the customer.
        Cancelled = "cancelled",
    }
}

/// A known relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relay {
    /// The normalized URL.
    pub url: String,
    /// Its network.
    pub network: Network,
    /// The result of the last check.
    pub state: RelayState,
    /// When it was first found.
    pub discovered_at: i64,
    /// When it was last checked.
    pub checked_at: Option<i64>,
    /// Consecutive failed checks.
    #[serde(skip)]
    pub failures: i64,
    /// Number of events that it was seen to hold.
    pub events: i64,
}

/// Selects relays.
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
    /// Only URLs that contain this text; all if empty.
    pub contains: String,
    /// Only URLs that sort after this one: the last of the previous page. Not together with a due time.
    pub after: Option<String>,
    /// The most rows.
    pub limit: i64,
}

/// A task that one agent at a time does for a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Checking.
    Check,
    /// Synchronizing.
    Sync,
}

impl Task {
    /// Returns its name in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Sync => "sync",
        }
    }
}

/// A lease: owner and duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The owner: a number of one process.
    pub holder: i64,
    /// The duration, in seconds.
    pub seconds: i64,
}

/// The result of one check, to be recorded.
#[derive(Debug, Clone)]
pub struct CheckRecord {
    /// When the check began.
    pub at: i64,
    /// The new state of the relay. An alias answered too.
    pub state: RelayState,
    /// When to check again.
    pub due_at: i64,
    /// The NIP-11 document as received.
    pub nip11: Option<String>,
    /// The facts found, as JSON without anything that changes from check to check.
    pub nip66: String,
    /// Round trips: open, read, write.
    pub rtt_ms: [Option<i64>; 3],
    /// TTL of the DNS answer, in seconds.
    pub dns_ttl: Option<i64>,
    /// What follows from the check, written in the same transaction.
    pub aftermath: Aftermath,
}

/// Events to send and state of services, written in one transaction: a crash leaves both or neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Events to queue for sending.
    pub outgoing: Vec<Outgoing>,
    /// State to store.
    pub states: Vec<ServiceState>,
}

/// A value that a service stores for its next run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// The service.
    pub service: &'static str,
    /// What kind of value it is.
    pub kind: &'static str,
    /// The key.
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

/// One recorded check of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Visit {
    /// When.
    pub at: i64,
    /// Whether the relay answered as one.
    pub up: bool,
    /// Round trips: open, read, write.
    pub rtt_ms: [Option<i64>; 3],
}

/// Results of the events sent to a relay, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deliveries {
    /// The relay.
    pub relay: String,
    /// Events that it accepted.
    pub accepted: i64,
    /// Events that it refused, or that were given up.
    pub refused: i64,
    /// Events that wait to be sent.
    pub waiting: i64,
    /// The last error, if any.
    pub trouble: Option<String>,
}

/// One of the newest documents of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// What it describes.
    #[serde(rename = "type")]
    pub kind: DocumentType,
    /// When it was last seen in this form.
    pub generated_at: i64,
    /// The document.
    pub data: String,
    /// Round trips measured with it: open, read, write.
    pub rtt_ms: [Option<i64>; 3],
}

/// A check that found a relay down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: i64,
    /// The failure code, if the check recorded one.
    pub code: Option<String>,
}

/// A document of a relay and the time over which it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSpan {
    /// The first and last check that received it.
    pub since: i64,
    /// See `since`.
    pub until: i64,
    /// The document.
    pub data: String,
}

/// Coverage and gaps of one relay under one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageReport {
    /// The relay's address.
    pub relay: String,
    /// The filter, as JSON; `{}` matches everything.
    pub filter: String,
    /// Proven spans, in order of time.
    pub covered: Vec<Covered>,
    /// Unproven spans, in order of time.
    pub gaps: Vec<Gap>,
}

/// The progress of archiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Relays with any coverage.
    pub relays: i64,
    /// Seconds from the end of a relay's coverage to now, on average of those that are up; `None` without any.
    pub lag: Option<i64>,
    /// Gaps.
    pub gaps: i64,
}

/// Claims by one method, or gaps for one reason, of all relays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageTotal {
    /// The method, or the reason.
    pub name: String,
    /// Relays that have any.
    pub relays: i64,
    /// Spans of time.
    pub spans: i64,
}

/// A position in a list of events, newest first, lowest id first within a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last event's `created_at`.
    pub created_at: i64,
    /// The last event's id.
    pub id: EventId,
}

/// A job request (NIP-90).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The request event's id.
    pub id: EventId,
    /// The request's kind, 5000 to 5999.
    pub kind: u16,
    /// The customer.
    pub customer: PublicKey,
    /// The request event, as JSON.
    pub request: String,
    /// When it arrived here.
    pub received_at: i64,
    /// Its status.
    pub status: JobStatus,
    /// The job that it waited for, if any.
    pub waits_for: Option<EventId>,
    /// Priority, lowest first: the number of the customer's requests within ten minutes, plus a thousand if they were never
    /// answered; set when it is stored.
    pub rank: i64,
}

impl Job {
    /// Returns true if the job has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status, JobStatus::Received | JobStatus::Working | JobStatus::Unpaid)
    }
}

/// A job and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The job.
    pub job: Job,
    /// When it was last started.
    pub begun_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The answer of a job that failed, as JSON.
    pub failure: Option<String>,
}

/// The standing of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Their jobs that have not ended.
    pub open: u64,
    /// Whether they were ever answered, as far as is known.
    pub known: bool,
    /// Waiting jobs of all customers who were never answered.
    pub newcomers: u64,
}

/// A bolt11 invoice for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its payment hash, in hexadecimal.
    pub hash: String,
    /// The job.
    pub job: EventId,
    /// The amount, in millisats.
    pub msat: u64,
    /// The invoice as wallets read it.
    pub bolt11: String,
    /// The feedback that carried it, which may be zapped instead.
    pub feedback: EventId,
    /// Unix seconds.
    pub expires_at: i64,
}

/// The price of a job, and its invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// In millisats.
    pub price: u64,
    /// The invoice.
    pub invoice: Invoice,
}

/// A payment for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its identity: an invoice's payment hash, or the id of a zap receipt.
    pub source: String,
    /// The job.
    pub job: EventId,
    /// The amount, in millisats.
    pub msat: u64,
}

/// The effect of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paid {
    /// None: it was known, or the job is unknown.
    Known,
    /// This amount is still missing.
    Missing(u64),
    /// The job is paid and answered.
    Settled {
        /// The amount beyond the price.
        over: u64,
    },
    /// The job does not wait for a payment: it was paid before, or cancelled.
    InVain,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// The public key.
    pub pubkey: PublicKey,
    /// Jobs that are kept,
    pub jobs: i64,
    /// how many of them failed,
    pub failed: i64,
    /// and how many wait for a payment.
    pub unpaid: i64,
    /// The sum of all payments, in millisats.
    pub msat: i64,
    /// When they last sent a request or a payment.
    pub last_at: i64,
}

/// Jobs and revenue of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revenue {
    /// The kind of job.
    pub kind: i64,
    /// Jobs that are kept,
    pub jobs: i64,
    /// how many of them were answered,
    pub answered: i64,
    /// failed,
    pub failed: i64,
    /// and wait for a payment.
    pub unpaid: i64,
    /// All payments,
    pub payments: i64,
    /// and their sum, in millisats.
    pub msat: i64,
}

/// One of the agent's own events on its way to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The event's id.
    pub event: EventId,
    /// The relay's URL.
    pub relay: String,
    /// The event, as JSON.
    pub body: String,
    /// What it is a version of, if it is replaceable: a waiting version is superseded by the next.
    pub slot: Option<String>,
    /// Number of tries.
    pub attempts: i64,
    /// Priority, lowest first.
    pub rank: i64,
}

/// Events to a relay are sent on two lanes, so that an answer does not wait behind a sweep of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Answers, and other events that are not replaceable.
    Answers,
    /// Versions of replaceable events: results of checks, announcements.
    Versions,
}

/// The result of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The relay replied OK.
    Accepted,
    /// The relay refused the event, or can never be reached; not tried again.
    Refused(String),
    /// The relay did not accept this event now; it is tried again at `due_at`. Others are sent meanwhile.
    Postponed {
        /// What went wrong.
        reason: String,
        /// When to try again.
        due_at: i64,
    },
    /// The relay accepts nothing now; this event and all others for it are tried again at `due_at`.
    Delayed {
        /// What went wrong.
        reason: String,
        /// When to try again.
        due_at: i64,
    },
}

/// Statistics of the archive.
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
    /// Events of the agent's own that wait to be sent.
    pub outbox: i64,
    /// The size of the database on disk.
    pub disk_bytes: i64,
    /// Free space within it that will be reused, if the database reports it (SQLite).
    pub free_bytes: Option<i64>,
}

/// The contents of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Distinct events.
    pub events: i64,
    /// Pairs of event and relay.
    pub sightings: i64,
    /// Relays.
    pub relays: i64,
}
