//! Operational events: one struct each, with its log line and its metrics side by side.

mod archive;
mod jobs;
mod limit;
mod metrics;
mod outbox;
mod relays;
mod services;

pub use archive::{
    ChecksRemoved, DiskLow, EventsRemoved, HintsRefuted, LiveEnded, LiveStarted, PageStored, RelaySynchronized,
};
pub use jobs::{JobEnded, JobReceived, PaymentReceived, watch_jobs};
pub use metrics::describe;
pub use outbox::{EventAccepted, EventDelayed, EventRefused};
pub use relays::{RelayChanged, RelayChecked, RelayOptedOut, RelaysFound, SourceFailed};
pub use services::{ClaimFailed, ServiceFailed, ServiceStarted, Summary, SweepProgress, WorkFailed};

/// An operational event that is logged and counted.
pub trait Telemetry {
    /// Writes the log line and records the metrics.
    fn emit(self);
}
