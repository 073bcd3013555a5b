//! Services, and work on relays that fails for a reason of the agent's own.

use metrics::{counter, gauge};
use tracing::{debug, warn};

use super::Telemetry;
use super::limit::Limit;

/// A service runs.
#[derive(Debug)]
pub struct ServiceStarted {
    /// Its name.
    pub service: &'static str,
}

impl Telemetry for ServiceStarted {
    fn emit(self) {
        let Self { service } = self;
        debug!(service, "service started");
        gauge!("brotr_service_up", "service" => service).set(1.0);
    }
}

/// A service failed and will be started again.
#[derive(Debug)]
pub struct ServiceFailed<'a> {
    /// Its name.
    pub service: &'static str,
    /// Why.
    pub error: &'a str,
    /// Seconds until it is started again.
    pub restart_in: u64,
}

impl Telemetry for ServiceFailed<'_> {
    fn emit(self) {
        let Self { service, error, restart_in } = self;
        warn!(service, error, restart_in, "service failed, starting it again");
        gauge!("brotr_service_up", "service" => service).set(0.0);
        counter!("brotr_service_failures_total", "service" => service).increment(1);
    }
}

/// Relays that are due could not be claimed.
#[derive(Debug)]
pub struct ClaimFailed<'a> {
    /// The task.
    pub task: &'static str,
    /// Why.
    pub error: &'a str,
}

impl Telemetry for ClaimFailed<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { task, error } = self;
        if let Some(suppressed) = LIMIT.admit() {
            warn!(task, error, suppressed, "failed to claim relays that are due, trying again");
        }
        counter!("brotr_work_failures_total", "task" => task).increment(1);
    }
}

/// Work on a relay failed for a reason of the agent's own.
#[derive(Debug)]
pub struct WorkFailed<'a> {
    /// The task.
    pub task: &'static str,
    /// The relay.
    pub relay: &'a str,
    /// Why.
    pub error: &'a str,
}

impl Telemetry for WorkFailed<'_> {
    fn emit(self) {
        static LIMIT: Limit = Limit::new();
        let Self { task, relay, error } = self;
        if let Some(suppressed) = LIMIT.admit() {
            warn!(task, relay, error, suppressed, "failed to finish work on a relay, trying again in a minute");
        }
        counter!("brotr_work_failures_total", "task" => task).increment(1);
    }
}
