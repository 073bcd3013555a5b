//! What happens, told once: the log line and the metrics of one happening come from one value.

use std::sync::LazyLock;

use brotr_storage::{Delivery, Paid, Stored};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tokio::sync::broadcast;
use tracing::{debug, info, warn};

use crate::agent::now;
use crate::monitor::Health;
use crate::synchronizer::Pass;

/// Something that operators want to see and count.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A service runs.
    ServiceUp(&'static str),
    /// A service failed and will be started again.
    ServiceDown {
        /// Its name.
        service: &'static str,
        /// Why.
        error: &'a str,
        /// Seconds until it is started again.
        again_in: u64,
    },
    /// Relays that are due could not be claimed.
    ClaimFailed {
        /// For which task.
        task: &'static str,
        /// Why.
        error: &'a str,
    },
    /// Work on a relay failed for a reason of ours.
    WorkFailed {
        /// Which task.
        task: &'static str,
        /// The relay.
        relay: &'a str,
        /// Why.
        error: &'a str,
    },
    /// Relays were found.
    RelaysFound {
        /// Where.
        source: &'a str,
        /// New ones.
        added: usize,
        /// Texts that are no address of a public relay.
        refused: usize,
    },
    /// A source of relays could not be read.
    SourceFailed {
        /// Where.
        source: &'a str,
        /// Why.
        error: &'a str,
    },
    /// A relay was checked.
    Checked(&'a Health),
    /// One page of a relay's events was stored.
    PageStored {
        /// The relay.
        relay: &'a str,
        /// What became of the events.
        stored: Stored,
        /// Events that were not what was signed, or not what was asked for.
        rejected: usize,
    },
    /// Events are taken as a relay takes them in.
    Following {
        /// The relay.
        relay: &'a str,
    },
    /// They are no longer.
    Unfollowed {
        /// The relay.
        relay: &'a str,
        /// Why.
        why: &'a str,
    },
    /// A pass over a relay ended.
    Synchronized(&'a Pass),
    /// The disk is nearly full.
    DiskLow {
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        floor: u64,
    },
    /// Events were removed.
    Forgotten {
        /// How many.
        removed: u64,
        /// By which rule.
        why: &'a str,
    },
    /// Sending an event of ours ended.
    Delivered {
        /// The relay.
        relay: &'a str,
        /// How.
        delivery: &'a Delivery,
    },
    /// Money came for a job.
    Paid {
        /// The request.
        job: nostr::EventId,
        /// How much, in millisats.
        msat: u64,
        /// What it did.
        paid: Paid,
    },
    /// A job request came.
    JobReceived(nostr::EventId),
    /// A job ended.
    JobEnded {
        /// The request.
        job: nostr::EventId,
        /// Its status.
        status: &'static str,
        /// From its arrival here.
        seconds: i64,
    },
}

/// Everything that is counted, with what it means.
const COUNTERS: [(&str, &str); 19] = [
    ("brotr_checks_total", "Checks of relays, by outcome."),
    ("brotr_deliveries_total", "Tries to send an event of ours to a relay, by outcome."),
    ("brotr_events_known_total", "Events that a relay gave and that were archived before."),
    ("brotr_events_rejected_total", "Events that a relay gave and that are not what was signed or asked for."),
    ("brotr_events_removed_total", "Events that retention removed."),
    ("brotr_events_stored_total", "Events that were archived."),
    ("brotr_jobs_ended_total", "Jobs that ended, or were billed, by status."),
    ("brotr_jobs_received_total", "Job requests that were kept."),
    ("brotr_live_ends_total", "Live subscriptions that ended."),
    ("brotr_live_subscriptions_total", "Live subscriptions that began."),
    ("brotr_payments_msat_total", "What was paid for jobs, in millisats."),
    ("brotr_payments_total", "Payments for jobs."),
    ("brotr_relays_found_total", "Relays that were not known before."),
    ("brotr_service_failures_total", "Services that failed and were started again, by service."),
    ("brotr_source_failures_total", "Sources of relays that could not be read."),
    ("brotr_sync_gaps_total", "Gaps that passes over relays left."),
    ("brotr_sync_passes_total", "Passes over relays, by outcome."),
    ("brotr_sync_requests_total", "Requests that passes over relays took."),
    ("brotr_work_failures_total", "Claims and work on relays that failed for a reason of the agent's, by task."),
];
const GAUGES: [(&str, &str); 14] = [
    ("brotr_archive_bytes", "The size of the database."),
    ("brotr_archive_events", "Archived events."),
    ("brotr_archive_pubkeys", "Authors of archived events."),
    ("brotr_archive_sightings", "Pairs of archived event and relay that holds it."),
    ("brotr_coverage_gaps", "Spans of time of a relay that could not be proven."),
    ("brotr_coverage_lag_seconds", "From the end of what is proven to now, the mean of relays that are up."),
    ("brotr_coverage_relays", "Relays of which anything is proven."),
    ("brotr_disk_free_bytes", "Free on the disk of an archive on this machine."),
    ("brotr_jobs", "Jobs that are remembered, by status."),
    ("brotr_outbox_waiting", "Events of ours that wait to be sent."),
    ("brotr_process_resident_bytes", "The memory of this process."),
    ("brotr_relays", "Relays, by state."),
    ("brotr_service_up", "Whether a service runs, by service."),
    ("brotr_tor_up", "Whether Tor can build circuits, where it is used."),
];

/// Says what each name means to who records.
pub fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(name, help);
    }
    describe_histogram!("brotr_job_seconds", "From the arrival of a job to its end.");
}

/// What becomes of jobs, as JSON, for who watches.
static JOBS: LazyLock<broadcast::Sender<String>> = LazyLock::new(|| broadcast::Sender::new(256));

/// Watches what becomes of jobs.
#[must_use]
pub fn watch() -> broadcast::Receiver<String> {
    JOBS.subscribe()
}

impl Happening<'_> {
    /// Logs and counts it, and tells who watches.
    pub fn tell(&self) {
        self.show();
        match self {
            Self::ServiceUp(service) => {
                debug!(service, "service started");
                gauge!("brotr_service_up", "service" => *service).set(1.0);
            }
            Self::ServiceDown { service, error, again_in } => {
                warn!(service, error, again_in, "service failed, starting it again");
                gauge!("brotr_service_up", "service" => *service).set(0.0);
                counter!("brotr_service_failures_total", "service" => *service).increment(1);
            }
            Self::ClaimFailed { task, error } => {
                warn!(task, error, "failed to claim relays that are due, trying again");
                counter!("brotr_work_failures_total", "task" => *task).increment(1);
            }
            Self::WorkFailed { task, relay, error } => {
                warn!(task, relay, error, "failed to finish work on a relay, trying again in a minute");
                counter!("brotr_work_failures_total", "task" => *task).increment(1);
            }
            Self::RelaysFound { source, added, refused } => {
                info!(source, added, refused, "relays found");
                counter!("brotr_relays_found_total").increment(*added as u64);
            }
            Self::SourceFailed { source, error } => {
                warn!(source, error, "failed to read a source of relays");
                counter!("brotr_source_failures_total").increment(1);
            }
            Self::Checked(health) => {
                let up = match health.up {
                    true => "up",
                    false if health.is_ours => "unknown",
                    false => "down",
                };
                debug!(relay = health.url, up, reason = health.reason(), "relay checked");
                counter!("brotr_checks_total", "outcome" => up).increment(1);
            }
            Self::PageStored { relay, stored, rejected } => {
                debug!(relay, stored = stored.stored, known = stored.known, rejected, "page stored");
                counter!("brotr_events_stored_total").increment(stored.stored as u64);
                counter!("brotr_events_known_total").increment(stored.known as u64);
                counter!("brotr_events_rejected_total").increment(*rejected as u64);
            }
            Self::Following { relay } => {
                debug!(relay, "following");
                counter!("brotr_live_subscriptions_total").increment(1);
            }
            Self::Unfollowed { relay, why } => {
                debug!(relay, why, "not following any more");
                counter!("brotr_live_ends_total").increment(1);
            }
            Self::Synchronized(pass) => {
                let outcome = if pass.error.is_some() { "failed" } else { "done" };
                let Pass { relay, transferred, stored, gaps, requests, .. } = pass;
                let error = pass.error.as_deref();
                info!(relay, transferred, stored, gaps, requests, error, "relay synchronized");
                counter!("brotr_sync_passes_total", "outcome" => outcome).increment(1);
                counter!("brotr_sync_requests_total").increment(pass.requests);
                counter!("brotr_sync_gaps_total").increment(pass.gaps);
            }
            Self::DiskLow { free, floor } => {
                warn!(free, floor, "archiving pauses: less free disk than storage.min_free");
            }
            Self::Forgotten { removed, why } => {
                counter!("brotr_events_removed_total").increment(*removed);
                if *removed > 0 {
                    info!(removed, why, "removed events");
                }
            }
            Self::Delivered { relay, delivery } => {
                let outcome = match delivery {
                    Delivery::Accepted => {
                        debug!(relay, "event published");
                        "accepted"
                    }
                    Delivery::Refused(reason) => {
                        warn!(relay, reason, "relay refused an event of ours");
                        "refused"
                    }
                    Delivery::Postponed { reason, due_at } | Delivery::Delayed { reason, due_at } => {
                        info!(relay, reason, due_at, "event of ours waits to be sent again");
                        "delayed"
                    }
                };
                counter!("brotr_deliveries_total", "outcome" => outcome).increment(1);
            }
            Self::Paid { paid: Paid::Known, .. } => {}
            Self::Paid { job, msat, paid } => {
                match paid {
                    Paid::InVain => warn!(%job, msat, "money came for a job that waits for none; it is not given back"),
                    Paid::Missing(missing) => info!(%job, msat, missing, "a job was paid for in part"),
                    Paid::Settled { over: 0 } | Paid::Known => info!(%job, msat, "a job was paid for"),
                    Paid::Settled { over } => info!(%job, msat, over, "a job was paid for, with more than it costs"),
                }
                counter!("brotr_payments_total").increment(1);
                counter!("brotr_payments_msat_total").increment(*msat);
            }
            Self::JobReceived(job) => {
                info!(%job, "job received");
                counter!("brotr_jobs_received_total").increment(1);
            }
            Self::JobEnded { job, status, seconds } => {
                info!(%job, status, seconds, "job ended");
                counter!("brotr_jobs_ended_total", "status" => *status).increment(1);
                #[expect(clippy::cast_precision_loss, reason = "jobs take seconds, not aeons")]
                histogram!("brotr_job_seconds").record(*seconds as f64);
            }
        }
    }

    fn show(&self) {
        if JOBS.receiver_count() == 0 {
            return;
        }
        let (job, status) = match self {
            Self::JobReceived(job) => (job, "received"),
            Self::JobEnded { job, status, .. } => (job, *status),
            _ => return,
        };
        let _ = JOBS.send(serde_json::json!({"id": job, "status": status, "at": now()}).to_string());
    }
}
