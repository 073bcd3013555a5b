//! Events that are archived, and that are removed.

use metrics::counter;
use tracing::{debug, info, warn};

use super::Telemetry;
use super::limit::Limit;

/// One page of a relay's events was stored.
#[derive(Debug)]
pub struct PageStored<'a> {
    /// The relay.
    pub relay: &'a str,
    /// Events that were new.
    pub stored: usize,
    /// Events that were archived before.
    pub known: usize,
    /// Events that were invalid, or not requested.
    pub rejected: usize,
}

impl Telemetry for PageStored<'_> {
    fn emit(self) {
        let Self { relay, stored, known, rejected } = self;
        debug!(relay, stored, known, rejected, "page stored");
        counter!("brotr_events_stored_total").increment(stored as u64);
        counter!("brotr_events_known_total").increment(known as u64);
        counter!("brotr_events_rejected_total").increment(rejected as u64);
    }
}

/// A relay said that nothing is left (NIP-67), and had more.
#[derive(Debug)]
pub struct HintsRefuted<'a> {
    /// The relay.
    pub relay: &'a str,
}

impl Telemetry for HintsRefuted<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        if let Some(suppressed) = LIMIT.admit() {
            info!(relay = self.relay, suppressed, "the relay said that nothing is left (NIP-67), and had more");
        }
        counter!("brotr_hints_refuted_total").increment(1);
    }
}

/// A live subscription to a relay began.
#[derive(Debug)]
pub struct LiveStarted<'a> {
    /// The relay.
    pub relay: &'a str,
}

impl Telemetry for LiveStarted<'_> {
    fn emit(self) {
        debug!(relay = self.relay, "live subscription started");
        counter!("brotr_live_subscriptions_total").increment(1);
    }
}

/// A live subscription to a relay ended.
#[derive(Debug)]
pub struct LiveEnded<'a> {
    /// The relay.
    pub relay: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl Telemetry for LiveEnded<'_> {
    fn emit(self) {
        let Self { relay, reason } = self;
        debug!(relay, reason, "live subscription ended");
        counter!("brotr_live_ends_total").increment(1);
    }
}

/// A pass over a relay ended.
#[derive(Debug)]
pub struct RelaySynchronized<'a> {
    /// The relay.
    pub relay: &'a str,
    /// EVENT messages received.
    pub transferred: u64,
    /// Events that were new.
    pub stored: u64,
    /// Gaps that the pass left.
    pub gaps: u64,
    /// Requests sent.
    pub requests: u64,
    /// Why the pass ended early, if it did.
    pub error: Option<&'a str>,
}

impl Telemetry for RelaySynchronized<'_> {
    fn emit(self) {
        let Self { relay, transferred, stored, gaps, requests, error } = self;
        debug!(relay, transferred, stored, gaps, requests, error, "relay synchronized");
        let outcome = if error.is_some() { "failed" } else { "done" };
        counter!("brotr_sync_passes_total", "outcome" => outcome).increment(1);
        counter!("brotr_sync_requests_total").increment(requests);
        counter!("brotr_sync_gaps_total").increment(gaps);
    }
}

/// The disk is nearly full.
#[derive(Debug)]
pub struct DiskLow {
    /// Free bytes.
    pub free: u64,
    /// Bytes that must be free, `storage.min_free`.
    pub min_free: u64,
}

impl Telemetry for DiskLow {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { free, min_free } = self;
        if let Some(suppressed) = LIMIT.admit() {
            warn!(free, min_free, suppressed, "archiving pauses: less free disk than storage.min_free");
        }
    }
}

/// Events were removed because they are too old or too many.
#[derive(Debug)]
pub struct EventsRemoved {
    /// How many.
    pub removed: u64,
    /// By which rule.
    pub rule: &'static str,
}

impl Telemetry for EventsRemoved {
    fn emit(self) {
        let Self { removed, rule } = self;
        if removed > 0 {
            info!(removed, rule, "removed events");
        }
        counter!("brotr_events_removed_total").increment(removed);
    }
}

/// Old checks of relays were removed.
#[derive(Debug)]
pub struct ChecksRemoved {
    /// How many.
    pub removed: u64,
}

impl Telemetry for ChecksRemoved {
    fn emit(self) {
        if self.removed > 0 {
            info!(removed = self.removed, "removed checks older than monitor.history");
        }
    }
}
