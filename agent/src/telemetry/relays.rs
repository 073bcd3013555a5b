//! Relays that are found and checked.

use metrics::counter;
use tracing::{debug, info, warn};

use super::Telemetry;
use super::limit::Limit;

/// Relays were found.
#[derive(Debug)]
pub struct RelaysFound<'a> {
    /// Where: a URL, a file, or `events`.
    pub source: &'a str,
    /// Relays that were not known before.
    pub added: usize,
    /// Texts that are not the URL of a public relay.
    pub refused: usize,
}

impl Telemetry for RelaysFound<'_> {
    fn emit(self) {
        let Self { source, added, refused } = self;
        info!(source, added, refused, "relays found");
        counter!("brotr_relays_found_total").increment(added as u64);
    }
}

/// A source of relays could not be read.
#[derive(Debug)]
pub struct SourceFailed<'a> {
    /// The source.
    pub source: &'a str,
    /// Why.
    pub error: &'a str,
}

impl Telemetry for SourceFailed<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { source, error } = self;
        if let Some(suppressed) = LIMIT.admit() {
            warn!(source, error, suppressed, "failed to read a source of relays");
        }
        counter!("brotr_source_failures_total").increment(1);
    }
}

/// A relay was checked.
#[derive(Debug)]
pub struct RelayChecked<'a> {
    /// The relay.
    pub relay: &'a str,
    /// `up`, `down`, or `unknown` if the check failed for a reason of the agent's own.
    pub outcome: &'static str,
    /// Why it is not up.
    pub reason: Option<&'a str>,
    /// The failure code, such as `dns_nxdomain`.
    pub failure: Option<&'a str>,
}

impl Telemetry for RelayChecked<'_> {
    fn emit(self) {
        let Self { relay, outcome, reason, failure } = self;
        debug!(relay, up = outcome, failure, reason, "relay checked");
        counter!("brotr_checks_total", "outcome" => outcome).increment(1);
        if let Some(code) = failure {
            counter!("brotr_check_failures_total", "code" => code.to_owned()).increment(1);
        }
    }
}

/// A relay came up that had been down, or went down.
#[derive(Debug)]
pub struct RelayChanged<'a> {
    /// The relay.
    pub relay: &'a str,
    /// Whether it is up now.
    pub up: bool,
    /// Why it is not.
    pub reason: Option<&'a str>,
}

impl Telemetry for RelayChanged<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { relay, up, reason } = self;
        if let Some(suppressed) = LIMIT.admit() {
            match up {
                true => info!(relay, suppressed, "relay came up"),
                false => info!(relay, reason, suppressed, "relay went down"),
            }
        }
        counter!("brotr_state_changes_total", "to" => if up { "up" } else { "down" }).increment(1);
    }
}

/// A relay is left alone from now on.
#[derive(Debug)]
pub struct RelayOptedOut<'a> {
    /// The relay.
    pub relay: &'a str,
    /// Who asked for it, and how.
    pub reason: &'a str,
}

impl Telemetry for RelayOptedOut<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { relay, reason } = self;
        if let Some(suppressed) = LIMIT.admit() {
            info!(relay, reason, suppressed, "relay is neither checked nor read");
        }
        counter!("brotr_state_changes_total", "to" => "opted-out").increment(1);
    }
}
