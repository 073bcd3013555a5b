//! Limits how often a log line that can repeat is written.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lines that are written without a limit.
const BURST: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
/// After those, one line in this time.
const PERIOD: Duration = Duration::from_secs(5);

/// The limit of one kind of line. Suppressed lines are counted, and the next line says how many there were; metrics count all.
pub(super) struct Limit {
    limiter: LazyLock<DefaultDirectRateLimiter>,
    suppressed: AtomicU64,
}

impl Limit {
    pub(super) const fn new() -> Self {
        let limiter = || {
            let quota = Quota::with_period(PERIOD).expect("a period").allow_burst(BURST);
            RateLimiter::direct(quota)
        };
        Self { limiter: LazyLock::new(limiter), suppressed: AtomicU64::new(0) }
    }

    /// Returns how many lines were suppressed since the last one, if this one may be written.
    pub(super) fn admit(&self) -> Option<u64> {
        if self.limiter.check().is_ok() {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_written_and_the_rest_is_counted() {
        let limit = Limit::new();
        let written = (0..1_000).filter(|_| limit.admit().is_some()).count();
        let burst = BURST.get() as usize;
        assert!((burst..=burst + 1).contains(&written), "{written}");
        assert_eq!(limit.suppressed.load(Ordering::Relaxed), 1_000 - written as u64);
    }
}
