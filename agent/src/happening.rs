//! What happens, told once: the log line and the metrics of one happening come from one value.

use brotr_storage::{Delivery, Paid, Stored};
use metrics::{counter, gauge};
use tracing::{debug, info, warn};

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

impl Happening<'_> {
    /// Logs and counts it.
    pub fn tell(&self) {
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
            Self::RelaysFound { source, added, refused } => {
                info!(source, added, refused, "relays found");
                counter!("brotr_relays_found_total").increment(*added as u64);
            }
            Self::SourceFailed { source, error } => {
                warn!(source, error, "failed to read a source of relays");
                counter!("brotr_source_failures_total").increment(1);
            }
            Self::Checked(health) => {
                let up = if health.up { "up" } else { "down" };
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
            }
        }
    }
}
