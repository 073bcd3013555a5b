//! Detects services that make no progress.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A service with work in progress that finishes none of it for this long is stalled.
const STALLED: Duration = Duration::from_secs(900);

/// Counts a service's work in progress. A service is judged by the work that it finishes.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Beat>>);

#[derive(Debug, Default)]
struct Beat {
    under_way: usize,
    /// When work was last finished, or begun while there was none.
    since: Option<Instant>,
}

impl Beat {
    fn begin(&mut self, now: Instant) {
        self.under_way += 1;
        if self.under_way == 1 {
            self.since = Some(now);
        }
    }

    fn end(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.since = Some(now);
    }

    /// Returns how long nothing has been finished although there is work in progress, if that is too long.
    fn stalled(&self, now: Instant) -> Option<Duration> {
        let idle = now.saturating_duration_since(self.since.filter(|_| self.under_way > 0)?);
        (idle >= STALLED).then_some(idle)
    }
}

impl Pulse {
    /// Records that a piece of work begins.
    pub fn begin(&self) {
        self.beat().begin(Instant::now());
    }

    /// Records that a piece of work has ended, successfully or not.
    pub fn end(&self) {
        self.beat().end(Instant::now());
    }

    /// Forgets work in progress: the service is started again.
    pub fn reset(&self) {
        *self.beat() = Beat::default();
    }

    /// Returns how long nothing has been finished although there is work in progress, if that is too long.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.beat().stalled(Instant::now())
    }

    fn beat(&self) -> std::sync::MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_judged_by_the_work_it_finishes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Beat::default();
        assert_eq!(beat.stalled(at(10_000)), None, "a service without work is not stalled");
        beat.begin(at(10_000));
        beat.begin(at(10_000));
        beat.end(at(10_800));
        assert_eq!(beat.stalled(at(11_600)), None, "something was finished a moment ago");
        assert_eq!(beat.stalled(at(11_700)), Some(Duration::from_secs(900)));
        beat.end(at(11_700));
        assert_eq!(beat.stalled(at(99_999)), None);
    }
}
