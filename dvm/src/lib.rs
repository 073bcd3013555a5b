//! NIP-90: parse a request, run it on the archive, answer it.
//!
//! This crate opens no socket. It is handed request events and hands back signed events and the relays they
//! should go to; the archive's job table makes sure that each request is answered once.

mod answer;
mod count;
mod request;

use std::fmt;
use std::sync::Arc;

use brotr_keys::Signer;
use brotr_storage::{Archive, Job, JobStatus, StorageError};
use nostr::{Event, JsonUtil, Kind, PublicKey};

pub use request::{Input, InputType, JobRequest};

/// A kind that asks for work here.
pub const JOB_KINDS: &[u16] = &[count::KIND];

/// The most relays that one answer is sent to besides our own: a request's `relays` is the customer's to write.
const MAX_REPLY_RELAYS: usize = 5;
/// The largest request event that is kept.
const MAX_REQUEST: usize = 64 << 10;

/// What became of a request event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Kept; work may begin.
    New,
    /// Kept before.
    Known,
    /// Not for us, with the reason.
    Ignored(&'static str),
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Answered or failed.
    pub status: JobStatus,
    /// The result, or the feedback that says what went wrong, signed.
    pub event: Event,
}

/// Why a job cannot be done, in words for the customer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The request is wrong; the text says how.
    #[error("{0}")]
    Wrong(String),
    /// We failed.
    #[error("the archive could not be asked: try again later")]
    Internal,
}

/// Gives a relay address its canonical spelling, or says why it may not be used.
pub type Canonical = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Answers jobs from an archive.
pub struct Dvm {
    archive: Arc<dyn Archive>,
    signer: Signer,
    canonical: Canonical,
    /// Requests older than this many seconds are left alone.
    max_age: i64,
}

impl fmt::Debug for Dvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dvm").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Dvm {
    /// A DVM on this archive that signs with this key. Requests older than `max_age` seconds are left alone.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, signer: Signer, canonical: Canonical, max_age: i64) -> Self {
        Self { archive, signer, canonical, max_age }
    }

    /// Keeps a request, before any work on it. The event must be verified.
    ///
    /// # Errors
    /// When the archive cannot be written; nothing is lost, since the relay still has the request.
    pub async fn accept(&self, event: &Event, now: i64) -> Result<Acceptance, StorageError> {
        if !JOB_KINDS.contains(&event.kind.as_u16()) {
            return Ok(Acceptance::Ignored("not a kind of job done here"));
        }
        let targets: Vec<PublicKey> = event.tags.public_keys().copied().collect();
        if !targets.is_empty() && !targets.contains(&self.signer.public_key()) {
            return Ok(Acceptance::Ignored("addressed to another"));
        }
        let age = now.saturating_sub(i64::try_from(event.created_at.as_secs()).unwrap_or(i64::MAX));
        if !(-900..=self.max_age).contains(&age) {
            return Ok(Acceptance::Ignored("too old, or from the future"));
        }
        let request = event.as_json();
        if request.len() > MAX_REQUEST {
            return Ok(Acceptance::Ignored("too large"));
        }
        let job = Job {
            id: event.id,
            kind: event.kind.as_u16(),
            customer: event.pubkey,
            request,
            received_at: now,
            status: JobStatus::Received,
        };
        Ok(if self.archive.accept_job(&job).await? { Acceptance::New } else { Acceptance::Known })
    }

    /// The feedback that says that work has begun.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn processing(&self, job: &Job) -> Result<Event, nostr::SignerError> {
        self.signer.sign(answer::feedback(job, "processing", ""))
    }

    /// The feedback that ends a job without a result.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn failed(&self, job: &Job, reason: &str) -> Result<Answer, nostr::SignerError> {
        let event = self.signer.sign(answer::feedback(job, "error", reason))?;
        Ok(Answer { status: JobStatus::Failed, event })
    }

    /// Does a job and gives its one answer.
    ///
    /// # Errors
    /// When the answer cannot be signed; whatever else goes wrong is an answer.
    pub async fn run(&self, job: &Job) -> Result<Answer, nostr::SignerError> {
        match self.content(job).await {
            Ok((request, content)) => {
                let event = self.signer.sign(answer::result(job, &request, &content))?;
                Ok(Answer { status: JobStatus::Answered, event })
            }
            Err(error) => self.failed(job, &error.to_string()),
        }
    }

    async fn content(&self, job: &Job) -> Result<(JobRequest, String), JobError> {
        let event = Event::from_json(&job.request).map_err(|_| JobError::Internal)?;
        let request = JobRequest::parse(&event)?;
        let content = match job.kind {
            count::KIND => count::run(self.archive.as_ref(), &request, &self.canonical).await?,
            other => return Err(JobError::Wrong(format!("jobs of kind {other} are not done here"))),
        };
        Ok((request, content))
    }

    /// Where the answers to a job go besides our own relays: the request's `relays`, those that may be used.
    #[must_use]
    pub fn reply_relays(&self, job: &Job) -> Vec<String> {
        let event = Event::from_json(&job.request).ok();
        let asked = event.and_then(|event| JobRequest::parse(&event).ok()).map(|r| r.relays).unwrap_or_default();
        let mut relays: Vec<String> = asked.iter().filter_map(|url| (self.canonical)(url).ok()).collect();
        relays.dedup();
        relays.truncate(MAX_REPLY_RELAYS);
        relays
    }

    /// The announcement of what is done here (NIP-89, kind 31990).
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn announcement(&self, profile: &serde_json::Value) -> Result<Event, nostr::SignerError> {
        self.signer.sign(answer::announcement(profile))
    }
}

/// The kind that answers a job of this kind.
#[must_use]
pub fn result_kind(kind: u16) -> Kind {
    Kind::from(kind.saturating_add(1_000))
}
