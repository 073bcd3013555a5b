//! The clocks of the process: those of the system, or those of a simulation.
//!
//! The time of day and the uptime are read here. Waits and durations use Tokio's clock, which a simulation can pause.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// A pair of clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Returns milliseconds since the Unix epoch. It may jump.
    pub system_ms: fn() -> i64,
    /// Returns milliseconds since the machine started, including suspended time. It never jumps.
    pub uptime_ms: fn() -> i64,
}

static CLOCKS: OnceLock<Clocks> = OnceLock::new();

/// Replaces the clocks of the process. Returns false if they were replaced before, which leaves them as they are.
pub fn replace(clocks: Clocks) -> bool {
    CLOCKS.set(clocks).is_ok()
}

/// Returns the system's time, in milliseconds since the Unix epoch.
#[must_use]
pub fn system_ms() -> i64 {
    CLOCKS.get().map_or_else(real_system_ms, |clocks| (clocks.system_ms)())
}

/// Returns the system's time, in seconds since the Unix epoch.
#[must_use]
pub fn unix_now() -> i64 {
    system_ms().div_euclid(1_000)
}

/// Returns milliseconds since the machine started, including suspended time.
#[must_use]
pub fn uptime_ms() -> i64 {
    CLOCKS.get().map_or_else(real_uptime_ms, |clocks| (clocks.uptime_ms)())
}

fn real_system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn real_uptime_ms() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}
