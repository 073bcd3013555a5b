//! Services, and work on relays that fails for a reason of the agent's own.

use metrics::{counter, gauge};
use tracing::{debug, info, warn};

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

/// How the agent is doing.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// Relays that are up,
    pub up: i64,
    /// down,
    pub down: i64,
    /// and not checked yet.
    pub unchecked: i64,
    /// Archived events.
    pub events: i64,
    /// How many were added since the last summary,
    pub added: i64,
    /// and a second.
    pub per_second: f64,
    /// Relays of which anything is proven.
    pub covered: i64,
    /// Seconds since what is proven of the relays that are up, on average.
    pub lag: Option<i64>,
    /// Gaps.
    pub gaps: i64,
    /// Jobs that were answered,
    pub answered: i64,
    /// and that wait or are in work.
    pub open: i64,
    /// Events of the agent's own that wait to be sent.
    pub outbox: i64,
}

impl Telemetry for Summary {
    fn emit(self) {
        let Self { up, down, unchecked, events, added, per_second, covered, lag, gaps, answered, open, outbox } = self;
        let lag = lag.map_or_else(String::new, |lag| format!(" until {} ago", minutes(lag)));
        let all = up + down + unchecked;
        info!(
            "relays: {up} up, {down} down, {unchecked} unchecked; events: {events} (+{added}, {per_second:.1}/s); \
             proven: {covered} of {all} relays{lag}, {gaps} gaps; jobs: {answered} answered, {open} open; outbox: {outbox}"
        );
    }
}

/// The first check of every relay is under way.
#[derive(Debug)]
pub struct SweepProgress {
    /// Relays that were checked.
    pub checked: i64,
    /// All relays.
    pub total: i64,
    /// Seconds until the last one is checked, at the rate so far; `None` without one.
    pub left: Option<i64>,
}

impl Telemetry for SweepProgress {
    fn emit(self) {
        let Self { checked, total, left } = self;
        let percent = 100 * checked / total.max(1);
        let left = left.map_or_else(String::new, |left| format!(", about {} left", minutes(left)));
        info!("first sweep: {checked} of {total} relays checked, {percent} %{left}");
    }
}

fn minutes(seconds: i64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
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
