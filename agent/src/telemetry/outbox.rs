//! The agent's own events on their way to relays.

use metrics::counter;
use tracing::{debug, info, warn};

use super::Telemetry;
use super::limit::Limit;

/// A relay accepted an event.
#[derive(Debug)]
pub struct EventAccepted<'a> {
    /// The relay.
    pub relay: &'a str,
}

impl Telemetry for EventAccepted<'_> {
    fn emit(self) {
        debug!(relay = self.relay, "event published");
        counter!("brotr_deliveries_total", "outcome" => "accepted").increment(1);
    }
}

/// A relay refused an event for good.
#[derive(Debug)]
pub struct EventRefused<'a> {
    /// The relay.
    pub relay: &'a str,
    /// Why, in the relay's words.
    pub reason: &'a str,
}

impl Telemetry for EventRefused<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { relay, reason } = self;
        if let Some(suppressed) = LIMIT.admit() {
            warn!(relay, reason, suppressed, "relay refused an event of this agent");
        }
        counter!("brotr_deliveries_total", "outcome" => "refused").increment(1);
    }
}

/// An event could not be sent, and will be sent again.
#[derive(Debug)]
pub struct EventDelayed<'a> {
    /// The relay.
    pub relay: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When it will be sent again, in unix seconds.
    pub due_at: i64,
}

impl Telemetry for EventDelayed<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { relay, reason, due_at } = self;
        if let Some(suppressed) = LIMIT.admit() {
            info!(relay, reason, due_at, suppressed, "failed to send an event, sending it again later");
        }
        counter!("brotr_deliveries_total", "outcome" => "delayed").increment(1);
    }
}
