//! NIP-90: parses a request, runs it on the archive, answers it.
//!
//! This crate opens no socket. It takes request events and returns signed events and the relays that they should be sent to;
//! the archive's job table ensures that each request is answered once.

mod admission;
mod answer;
mod jobs;
mod limits;
mod payment;
mod request;
mod seal;

use std::fmt;
use std::sync::Arc;

use brotr_core::Event as Archived;
use brotr_keys::Signer;
use brotr_storage::{
    Archive, Bill, EventStore, Invoice, Job, JobStatus, JobStore, Payment, PaymentStore, StorageError, View,
    with_time_limit,
};
use nostr::{Event, EventId, Filter, Kind, PublicKey, SignerError, Timestamp};

pub use admission::PING;
pub use limits::Limits;
pub use payment::{Invoiced, Price, Prices, Till};
pub use request::{Input, InputType, JobRequest, PreparedJob};
pub use seal::Seal;

use tokio::sync::watch;

use answer::{Content, Feedback};
use jobs::{JOBS, JobContext};
use limits::Gate;
use payment::Owed;

/// Returns the kinds of requests that are served.
#[must_use]
pub fn job_kinds() -> Vec<u16> {
    JOBS.iter().map(|work| work.kind()).collect()
}

/// The most relays that one answer is sent to besides our own: a request's `relays` tag is written by the customer.
const MAX_REPLY_RELAYS: usize = 5;
/// The largest result, in bytes: many relays accept events of 64 KiB, and the request is repeated in it.
const MAX_RESULT: usize = 40_000;
const A_DAY: i64 = 86_400;

/// The result of admitting an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// Stored; work may begin.
    New,
    /// Stored before.
    Known,
    /// A job was cancelled.
    Cancelled,
    /// A ping.
    Ping,
    /// A payment for a job.
    Paid(Payment),
    /// Not for us, with the reason.
    Ignored(&'static str),
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Answered or failed.
    pub status: JobStatus,
    /// The result, or feedback with the error, signed.
    pub event: Event,
}

/// The outcome of running a job.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its answer.
    Answer(Answer),
    /// A result that must be paid first.
    Billed(Box<Billed>),
    /// None yet: the job is to be started again when another job has ended, or shortly.
    Later(EventId),
}

/// A result that is held back.
#[derive(Debug, Clone)]
pub struct Billed {
    /// Price and invoice.
    pub bill: Bill,
    /// The result, signed.
    pub result: Event,
    /// The feedback that requests payment, signed.
    pub feedback: Event,
}

/// An invoice and the feedback that sends it to the customer.
#[derive(Debug, Clone)]
pub struct PaymentRequest {
    /// The invoice.
    pub invoice: Invoice,
    /// The feedback, signed.
    pub feedback: Event,
}

/// Why a job cannot be done, in words for the customer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The request is invalid; the text says how.
    #[error("{0}")]
    Wrong(String),
    /// Another job must end first.
    #[error("the job {0} has not ended")]
    NotYet(EventId),
    /// An internal error.
    #[error("the archive could not be asked: try again later")]
    Internal,
}

/// Why a run of a job ended without an outcome.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Normalizes the URL of a relay, or returns why it may not be used.
pub type Canonical = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The terms of service.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Requests older than this many seconds are ignored.
    pub max_age: i64,
    /// Who may request jobs, and how many.
    pub limits: Limits,
    /// Prices.
    pub prices: Prices,
    /// Makes invoices. Without it every job is free.
    pub till: Option<Arc<dyn Till>>,
    /// Returns the time, in unix seconds, that answers are dated with.
    pub now: fn() -> i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            max_age: 3_600,
            limits: Limits::default(),
            prices: Prices::default(),
            till: None,
            now: brotr_core::clock::unix_now,
        }
    }
}

/// Answers jobs from an archive.
pub struct Dvm {
    events: Arc<dyn EventStore>,
    jobs: Arc<dyn JobStore>,
    payments: Arc<dyn PaymentStore>,
    signer: Signer,
    canonical: Canonical,
    max_age: i64,
    prices: Prices,
    till: Option<Arc<dyn Till>>,
    now: fn() -> i64,
    gate: Gate,
}

impl fmt::Debug for Dvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dvm").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Dvm {
    /// Returns a DVM on this archive that signs with this key.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, signer: Signer, canonical: Canonical, terms: Terms) -> Self {
        let Terms { max_age, limits, prices, till, now } = terms;
        let (events, jobs, payments) = (archive.clone(), archive.clone(), archive);
        Self { events, jobs, payments, signer, canonical, max_age, prices, till, now, gate: Gate::new(limits) }
    }

    /// Answers a ping.
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub fn pong(&self, ping: &Event) -> Result<Event, SignerError> {
        answer::pong(&self.signer, ping)
    }

    /// Returns a heartbeat that is valid for `lasts` seconds.
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub fn heartbeat(&self, lasts: u64) -> Result<Event, SignerError> {
        answer::heartbeat(&self.signer, lasts, self.timestamp())
    }

    /// Parses the request of a stored job, and decrypts it if necessary.
    pub async fn prepare(&self, job: Job) -> PreparedJob {
        PreparedJob::new(job, &self.signer).await
    }

    /// Returns the feedback that work has begun.
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub async fn processing(&self, job: &PreparedJob) -> Result<Event, SignerError> {
        self.feedback(job, "processing", "").await
    }

    /// Returns the feedback with a partial result.
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub async fn partial(&self, job: &PreparedJob, content: &str) -> Result<Event, SignerError> {
        self.feedback(job, "partial", content).await
    }

    /// Returns the feedback that ends a job without a result.
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub async fn failed(&self, job: &PreparedJob, reason: &str) -> Result<Answer, SignerError> {
        Ok(Answer { status: JobStatus::Failed, event: self.feedback(job, "error", reason).await? })
    }

    async fn feedback(&self, job: &PreparedJob, status: &str, text: &str) -> Result<Event, SignerError> {
        answer::feedback(&self.signer, job, Feedback { status, text, owed: None }, self.timestamp()).await
    }

    /// Runs a job. Partial results go to `partial`.
    ///
    /// # Errors
    /// Fails if the answer cannot be signed; any other failure is an answer.
    pub async fn run(&self, prepared: &PreparedJob, partial: &watch::Sender<String>) -> Result<Outcome, SignerError> {
        match self.outcome(prepared, partial).await {
            Ok(outcome) => Ok(outcome),
            Err(RunError::Job(JobError::NotYet(other))) => Ok(Outcome::Later(other)),
            Err(RunError::Job(error)) => Ok(Outcome::Answer(self.failed(prepared, &error.to_string()).await?)),
            Err(RunError::Signer(error)) => Err(error),
        }
    }

    async fn outcome(&self, prepared: &PreparedJob, partial: &watch::Sender<String>) -> Result<Outcome, RunError> {
        let job = &prepared.job;
        let request = prepared.request.as_ref().map_err(JobError::clone)?;
        let content = with_time_limit(self.gate.limits.statement, self.content(job, request, partial)).await?;
        let content = Content::shorten(content, MAX_RESULT);
        if content.text.len() > MAX_RESULT {
            let size = content.text.len();
            let why = format!("the result has {size} bytes, and relays accept about {MAX_RESULT}: ask for less");
            return Err(JobError::Wrong(why).into());
        }
        let price = self.price(job, request, &content.text).await?;
        if price == 0 {
            let event = answer::result(&self.signer, job, request, &content, None, self.timestamp()).await?;
            return Ok(Outcome::Answer(Answer { status: JobStatus::Answered, event }));
        }
        let PaymentRequest { invoice, feedback } = self.bill(prepared, price, "").await?;
        let owed = Owed { msat: price, bolt11: &invoice.bolt11 };
        let result = answer::result(&self.signer, job, request, &content, Some(owed), self.timestamp()).await?;
        let bill = Bill { price, invoice };
        Ok(Outcome::Billed(Box::new(Billed { bill, result, feedback })))
    }

    /// Returns the price of a result, in millisats: 0 if it is free, or within the customer's free jobs of the day.
    async fn price(&self, job: &Job, request: &JobRequest, content: &str) -> Result<u64, JobError> {
        let price = if self.till.is_some() { self.prices.of(job.kind, content) } else { 0 };
        if price == 0 {
            return Ok(0);
        }
        let priced: Vec<u16> = self.prices.kinds.keys().copied().collect();
        let today = job.received_at.saturating_sub(A_DAY);
        let had = self.jobs.free_jobs(job, &priced, today).await.map_err(jobs::failed)?;
        if had < self.prices.free_per_day {
            return Ok(0);
        }
        match request.bid {
            Some(bid) if bid < price => Err(JobError::Wrong(format!(
                "this costs {price} msat, and the bid was {bid}: bid more, or ask for less"
            ))),
            _ => Ok(price),
        }
    }

    /// Returns an invoice and the feedback that requests its payment. `before` says why it is not the first.
    async fn bill(&self, prepared: &PreparedJob, msat: u64, before: &str) -> Result<PaymentRequest, JobError> {
        let job = &prepared.job;
        let till = self.till.as_ref().ok_or(JobError::Internal)?;
        let about = format!("Job {} of kind {}", job.id, job.kind);
        let made = till.invoice(msat, &about).await.map_err(|error| {
            tracing::error!(error, "failed to have an invoice made");
            JobError::Wrong(format!("this costs {msat} msat, and no invoice can be made now: try again later"))
        })?;
        let zap = if self.prices.zappers.is_empty() { "" } else { " or by a zap of this event" };
        let text = format!("{before}pay {msat} msat to get the result, by the invoice{zap}");
        let owed = Some(Owed { msat, bolt11: &made.bolt11 });
        let request = Feedback { status: "payment-required", text: &text, owed };
        let feedback = answer::feedback(&self.signer, prepared, request, self.timestamp()).await.map_err(|error| {
            tracing::error!(%error, "failed to sign");
            JobError::Internal
        })?;
        let Invoiced { hash, bolt11, msat, expires_at } = made;
        let invoice = Invoice { hash, job: job.id, msat, bolt11, feedback: feedback.id, expires_at };
        Ok(PaymentRequest { invoice, feedback })
    }

    /// Returns another invoice, for the rest after a partial payment.
    ///
    /// # Errors
    /// A message for the operator.
    pub async fn bill_rest(&self, job: &PreparedJob, came: u64, missing: u64) -> Result<PaymentRequest, JobError> {
        self.bill(job, missing, &format!("{came} msat came in, {missing} are missing: ")).await
    }

    async fn content(
        &self,
        job: &Job,
        request: &JobRequest,
        partial: &watch::Sender<String>,
    ) -> Result<String, JobError> {
        let work = JOBS.iter().find(|work| work.kind() == job.kind);
        let work = work.ok_or_else(|| JobError::Wrong(format!("jobs of kind {} are not done here", job.kind)))?;
        let context = JobContext {
            events: self.events.as_ref(),
            jobs: self.jobs.as_ref(),
            canonical: &self.canonical,
            customer: request.customer,
            signer: &self.signer,
            now: (self.now)(),
            received_at: job.received_at,
            // Paid results are not given away in parts.
            partial: (!self.prices.kinds.contains_key(&job.kind)).then_some(partial),
        };
        work.run(&context, request).await
    }

    /// Returns the relays for the answers to a job besides our own: the request's `relays`, else the customer's read relays
    /// (NIP-65) if they are archived; only those that may be used.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn reply_relays(&self, job: &PreparedJob) -> Result<Vec<String>, StorageError> {
        let asked = job.request.as_ref().map(|request| request.relays.as_slice());
        let mut relays = self.usable(asked.unwrap_or_default());
        if relays.is_empty() {
            relays = self.usable(&self.reads(job.job.customer).await?);
        }
        Ok(relays)
    }

    /// Returns the relays on which a customer reads.
    async fn reads(&self, customer: PublicKey) -> Result<Vec<String>, StorageError> {
        let filter = Filter::new().author(customer).kind(Kind::RelayList);
        let list = match self.events.page(&filter, View::Client { now: (self.now)() }, None, 1).await {
            Err(StorageError::NoContents) => None,
            found => found?.pop(),
        };
        let is_read =
            |tag: &&Vec<String>| tag.len() > 1 && tag[0] == "r" && tag.get(2).is_none_or(|mark| mark != "write");
        Ok(list.iter().flat_map(|list: &Archived| &list.tags).filter(is_read).map(|tag| tag[1].clone()).collect())
    }

    fn usable(&self, asked: &[String]) -> Vec<String> {
        let mut relays: Vec<String> = asked.iter().filter_map(|url| (self.canonical)(url).ok()).collect();
        relays.dedup();
        relays.truncate(MAX_REPLY_RELAYS);
        relays
    }

    /// Returns the announcement of the handler (NIP-89, kind 31990).
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub fn announcement(&self, profile: &serde_json::Value) -> Result<Event, nostr::SignerError> {
        let costs = !self.prices.kinds.is_empty() && self.till.is_some();
        self.signer.sign(answer::announcement(profile, costs, self.timestamp()))
    }

    /// Returns the withdrawal of the announcement (NIP-09).
    ///
    /// # Errors
    /// Fails if it cannot be signed.
    pub fn withdrawal(&self) -> Result<Event, nostr::SignerError> {
        answer::withdrawal(&self.signer, self.timestamp())
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from((self.now)().max(0).cast_unsigned())
    }
}

/// Returns the kind of results for this kind of requests.
#[must_use]
pub fn result_kind(kind: u16) -> Kind {
    Kind::from(kind.saturating_add(1_000))
}
