//! Jobs (NIP-90) and payments.

use std::sync::LazyLock;

use metrics::{counter, histogram};
use nostr::EventId;
use tokio::sync::broadcast;
use tracing::{info, warn};

use super::Telemetry;

/// Changes of jobs as JSON, for the dashboard.
static CHANGES: LazyLock<broadcast::Sender<String>> = LazyLock::new(|| broadcast::Sender::new(256));

/// Subscribes to changes of jobs: `{"id", "status", "at"}` as JSON, `at` in unix seconds.
#[must_use]
pub fn watch_jobs() -> broadcast::Receiver<String> {
    CHANGES.subscribe()
}

fn changed(job: EventId, status: &str, at: i64) {
    if CHANGES.receiver_count() > 0 {
        let _ = CHANGES.send(serde_json::json!({"id": job, "status": status, "at": at}).to_string());
    }
}

/// A job request arrived.
#[derive(Debug)]
pub struct JobReceived {
    /// The request.
    pub job: EventId,
    /// When, in unix seconds.
    pub at: i64,
}

impl Telemetry for JobReceived {
    fn emit(self) {
        let Self { job, at } = self;
        info!(%job, "job received");
        counter!("brotr_jobs_received_total").increment(1);
        changed(job, "received", at);
    }
}

/// A job ended, or was billed.
#[derive(Debug)]
pub struct JobEnded {
    /// The request.
    pub job: EventId,
    /// Its status.
    pub status: &'static str,
    /// When it arrived, in unix seconds.
    pub received_at: i64,
    /// When it ended, in unix seconds.
    pub at: i64,
}

impl Telemetry for JobEnded {
    fn emit(self) {
        let Self { job, status, received_at, at } = self;
        let seconds = at - received_at;
        info!(%job, status, seconds, "job ended");
        counter!("brotr_jobs_ended_total", "status" => status).increment(1);
        #[expect(clippy::cast_precision_loss, reason = "jobs take seconds, not aeons")]
        histogram!("brotr_job_seconds").record(seconds as f64);
        changed(job, status, at);
    }
}

/// A payment for a job arrived.
#[derive(Debug)]
pub struct PaymentReceived {
    /// The request.
    pub job: EventId,
    /// How much, in millisats.
    pub msat: u64,
    /// Whether the job awaits a payment. An unexpected one is not returned.
    pub expected: bool,
    /// What is missing from the price, in millisats.
    pub missing: u64,
    /// What exceeds the price, in millisats.
    pub excess: u64,
}

impl Telemetry for PaymentReceived {
    fn emit(self) {
        let Self { job, msat, expected, missing, excess } = self;
        if expected {
            info!(%job, msat, missing, excess, "payment received");
        } else {
            warn!(%job, msat, "payment received for a job that awaits none; it is not returned");
        }
        counter!("brotr_payments_total").increment(1);
        counter!("brotr_payments_msat_total").increment(msat);
    }
}
