//! NIP-90: parse a request, run it on the archive, answer it.
//!
//! This crate opens no socket. It is handed request events and hands back signed events and the relays they
//! should go to; the archive's job table makes sure that each request is answered once.

mod answer;
mod jobs;
mod limits;
mod request;
mod seal;

use std::fmt;
use std::sync::Arc;

use brotr_keys::Signer;
use brotr_storage::{Archive, Event as Archived, Job, JobStatus, StorageError, View};
use nostr::{Event, Filter, JsonUtil, Kind, PublicKey, SignerError};

pub use limits::Limits;
pub use request::{Input, InputType, JobRequest};
pub use seal::Seal;

use jobs::{Desk, JOBS};
use limits::Gate;

/// The kinds that ask for work here.
#[must_use]
pub fn job_kinds() -> Vec<u16> {
    JOBS.iter().map(|work| work.kind()).collect()
}

/// The most relays that one answer is sent to besides our own: a request's `relays` is the customer's to write.
const MAX_REPLY_RELAYS: usize = 5;
/// The largest request event that is kept.
const MAX_REQUEST: usize = 64 << 10;
/// The largest result: relays take events of 64 KiB as a rule, and the request is in it once more.
const MAX_RESULT: usize = 40_000;
/// Jobs that one deletion takes back.
const MAX_CANCELLED: usize = 50;

/// What became of a request event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Kept; work may begin.
    New,
    /// Kept before.
    Known,
    /// A job was taken back.
    Cancelled,
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
    gate: Gate,
}

impl fmt::Debug for Dvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dvm").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Dvm {
    /// A DVM on this archive that signs with this key. Requests older than `max_age` seconds are left alone.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, signer: Signer, canonical: Canonical, max_age: i64, limits: Limits) -> Self {
        Self { archive, signer, canonical, max_age, gate: Gate::new(limits) }
    }

    /// Keeps a request, before any work on it, or takes one back (NIP-09). The event must be verified.
    ///
    /// # Errors
    /// When the archive cannot be written; nothing is lost, since the relay still has the request.
    pub async fn accept(&self, event: &Event, now: i64) -> Result<Acceptance, StorageError> {
        if event.kind == Kind::EventDeletion {
            return self.cancel(event, now).await;
        }
        if !JOBS.iter().any(|work| work.kind() == event.kind.as_u16()) {
            return Ok(Acceptance::Ignored("not a kind of job done here"));
        }
        let targets: Vec<PublicKey> = event.tags.public_keys().copied().collect();
        if !targets.is_empty() && !targets.contains(&self.signer.public_key()) {
            return Ok(Acceptance::Ignored("addressed to another"));
        }
        if targets.is_empty() && Seal::of(event).is_some() {
            return Ok(Acceptance::Ignored("encrypted and addressed to nobody"));
        }
        let age = now.saturating_sub(i64::try_from(event.created_at.as_secs()).unwrap_or(i64::MAX));
        if !(-900..=self.max_age).contains(&age) {
            return Ok(Acceptance::Ignored("too old, or from the future"));
        }
        let request = event.as_json();
        if request.len() > MAX_REQUEST {
            return Ok(Acceptance::Ignored("too large"));
        }
        if let Err(why) = self.gate.admits(event) {
            return Ok(Acceptance::Ignored(why));
        }
        // Known ones are not counted against anybody: relays give them again.
        if self.archive.job(event.id).await?.is_some() {
            return Ok(Acceptance::Known);
        }
        if let Err(why) = self.gate.enters(event.pubkey) {
            return Ok(Acceptance::Ignored(why));
        }
        if self.archive.open_jobs(event.pubkey).await? >= self.gate.limits.open {
            return Ok(Acceptance::Ignored("too many jobs of this customer wait"));
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

    /// Takes back the jobs that a deletion names, if they are the author's own.
    async fn cancel(&self, event: &Event, now: i64) -> Result<Acceptance, StorageError> {
        let mut cancelled = false;
        for id in event.tags.event_ids().take(MAX_CANCELLED) {
            cancelled |= self.archive.cancel_job(*id, event.pubkey, now).await?;
        }
        Ok(if cancelled { Acceptance::Cancelled } else { Acceptance::Ignored("deletes no job that is open here") })
    }

    /// The feedback that says that work has begun.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn processing(&self, job: &Job) -> Result<Event, SignerError> {
        answer::feedback(&self.signer, job, seal_of(job), "processing", "").await
    }

    /// The feedback that ends a job without a result.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn failed(&self, job: &Job, reason: &str) -> Result<Answer, SignerError> {
        let event = answer::feedback(&self.signer, job, seal_of(job), "error", reason).await?;
        Ok(Answer { status: JobStatus::Failed, event })
    }

    /// Does a job and gives its one answer.
    ///
    /// # Errors
    /// When the answer cannot be signed; whatever else goes wrong is an answer.
    pub async fn run(&self, job: &Job) -> Result<Answer, SignerError> {
        match self.content(job).await {
            Ok((request, content)) if content.len() <= MAX_RESULT => {
                let event = answer::result(&self.signer, job, &request, &content).await?;
                Ok(Answer { status: JobStatus::Answered, event })
            }
            Ok((_, content)) => {
                let why =
                    format!("the result has {} bytes, relays take some {MAX_RESULT}: ask for less", content.len());
                self.failed(job, &why).await
            }
            Err(error) => self.failed(job, &error.to_string()).await,
        }
    }

    async fn content(&self, job: &Job) -> Result<(JobRequest, String), JobError> {
        let event = Event::from_json(&job.request).map_err(|_| JobError::Internal)?;
        let request = JobRequest::read(&event, &self.signer).await?;
        let work = JOBS.iter().find(|work| work.kind() == job.kind);
        let work = work.ok_or_else(|| JobError::Wrong(format!("jobs of kind {} are not done here", job.kind)))?;
        let desk = Desk {
            archive: self.archive.as_ref(),
            canonical: &self.canonical,
            customer: request.customer,
            signer: &self.signer,
            now: now(),
        };
        let content = work.run(&desk, &request).await?;
        Ok((request, content))
    }

    /// Where the answers to a job go besides our own relays: the request's `relays`, else those where the customer
    /// reads (NIP-65), as far as that is known here; those that may be used.
    ///
    /// # Errors
    /// When the archive cannot be asked.
    pub async fn reply_relays(&self, job: &Job) -> Result<Vec<String>, StorageError> {
        let asked = match Event::from_json(&job.request) {
            Ok(event) => JobRequest::read(&event, &self.signer).await.map(|request| request.relays),
            Err(_) => Ok(Vec::new()),
        };
        let mut relays = self.usable(asked.unwrap_or_default());
        if relays.is_empty() {
            relays = self.usable(self.reads(job.customer).await?);
        }
        Ok(relays)
    }

    /// The relays where somebody reads what is meant for them.
    async fn reads(&self, customer: PublicKey) -> Result<Vec<String>, StorageError> {
        let filter = Filter::new().author(customer).kind(Kind::RelayList);
        let list = match self.archive.page(&filter, View::Client { now: now() }, None, 1).await {
            Err(StorageError::NoContents) => None,
            found => found?.pop(),
        };
        let is_read =
            |tag: &&Vec<String>| tag.len() > 1 && tag[0] == "r" && tag.get(2).is_none_or(|mark| mark != "write");
        Ok(list.iter().flat_map(|list: &Archived| &list.tags).filter(is_read).map(|tag| tag[1].clone()).collect())
    }

    fn usable(&self, asked: Vec<String>) -> Vec<String> {
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

/// How a job was encrypted.
fn seal_of(job: &Job) -> Option<Seal> {
    Event::from_json(&job.request).ok().as_ref().and_then(Seal::of)
}

fn now() -> i64 {
    i64::try_from(nostr::Timestamp::now().as_secs()).unwrap_or(i64::MAX)
}
