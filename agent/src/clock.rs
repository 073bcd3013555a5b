//! The time that the agent trusts: the system's clock, except while it jumps.
//!
//! A clock that is ahead for a moment must not lead to claims about the future or delay work for days; one that is behind must
//! not repeat work. Trusted time advances by the monotonic clock until a jump of the system's clock has lasted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use brotr_core::clock::{system_ms, uptime_ms};
use nostr::Timestamp;

use crate::error::Result;

/// A difference up to this is drift, and is followed at once. In milliseconds.
const DRIFT: i64 = 2_000;
/// How long a jump forward must last before it is followed, in milliseconds.
const AHEAD: i64 = 600_000;
/// How long a jump back must last, in milliseconds: less, because dates in the future do more harm than repeated work.
const BEHIND: i64 = 60_000;
/// How long after its start the process considers the clock not yet set.
const SETTLED: Duration = Duration::from_secs(120);
/// How often the system's clock is read.
const TICK: Duration = Duration::from_secs(5);

static CLOCK: Mutex<Clock> = Mutex::new(Clock { anchor: None, suspected: None, followed: None });

/// Returns the trusted time in unix seconds.
#[must_use]
pub fn now() -> i64 {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    clock.read(system_ms(), uptime_ms()).div_euclid(1_000)
}

/// Returns the trusted time, to date an event with.
#[must_use]
pub fn timestamp() -> Timestamp {
    Timestamp::from(now().max(0).cast_unsigned())
}

/// Follows the system's clock. After a clock that was ahead, calls `pull_back_to` with the current time until it succeeds:
/// later timestamps are to be moved back to it.
///
/// # Errors
/// Never.
pub async fn watch<F: Future<Output = Result<()>>>(pull_back_to: impl Fn(i64) -> F) -> Result<()> {
    // The clock of an earlier process may have been ahead. This is decided once our own clock has settled: after a start
    // without a network it may be behind until it is set.
    let (mut pull_back, mut suspected) = (true, None);
    let started = tokio::time::Instant::now();
    loop {
        let at = now();
        let (seen, followed) = {
            let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
            (clock.suspected.map(|jump| jump.difference / 1_000), clock.followed.take())
        };
        if seen != suspected {
            suspected = seen;
            if let Some(seconds) = seen {
                tracing::warn!(seconds, "the system's clock jumped: its old time is used until the new one has lasted");
            }
        }
        if let Some(difference) = followed {
            tracing::warn!(seconds = difference / 1_000, "the system's new time is used from now on");
            pull_back |= difference < 0;
        }
        if pull_back && seen.is_none() && started.elapsed() >= SETTLED {
            match pull_back_to(at).await {
                Ok(()) => pull_back = false,
                Err(error) => tracing::warn!(%error, "failed to pull back what is dated in the future"),
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

/// The trusted time as a function of two clocks, all in milliseconds.
#[derive(Debug)]
struct Clock {
    /// A time of the system's clock that was trusted, and the uptime at that moment.
    anchor: Option<(i64, i64)>,
    suspected: Option<Jump>,
    /// The last jump that was followed, until it is taken.
    followed: Option<i64>,
}

/// A difference between the system's clock and the trusted time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jump {
    difference: i64,
    /// The uptime when it was first seen.
    since: i64,
}

impl Clock {
    fn read(&mut self, system: i64, uptime: i64) -> i64 {
        let (time, at) = *self.anchor.get_or_insert((system, uptime));
        let trusted = time + (uptime - at);
        let difference = system - trusted;
        if difference.abs() <= DRIFT {
            (self.anchor, self.suspected) = (Some((system, uptime)), None);
            return system;
        }
        let jump = self.suspected.filter(|jump| (difference - jump.difference).abs() <= DRIFT);
        let jump = *self.suspected.insert(jump.unwrap_or(Jump { difference, since: uptime }));
        let lasts = uptime - jump.since;
        if lasts < if difference > 0 { AHEAD } else { BEHIND } {
            return trusted;
        }
        (self.anchor, self.suspected, self.followed) = (Some((system, uptime)), None, Some(difference));
        system
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_700_000_000_000;
    const A_DAY: i64 = 86_400_000;

    fn clock() -> Clock {
        Clock { anchor: None, suspected: None, followed: None }
    }

    #[test]
    fn a_short_clock_jump_is_ignored() {
        let mut clock = clock();
        for second in 0..600 {
            let at = START + second * 1_000;
            // Three days ahead for fifteen seconds.
            let ahead = if (100..115).contains(&second) { 3 * A_DAY } else { 0 };
            assert_eq!(clock.read(at + ahead, second * 1_000), at, "second {second}");
        }
        assert_eq!(clock.followed, None);
    }

    #[test]
    fn a_lasting_clock_jump_is_followed_and_logged() {
        for (jump, lasts) in [(A_DAY, AHEAD), (-A_DAY, BEHIND)] {
            let mut clock = clock();
            assert_eq!(clock.read(START, 0), START);
            for at in (1_000..1_000 + lasts).step_by(1_000) {
                assert_eq!(clock.read(START + at + jump, at), START + at);
            }
            let at = 1_000 + lasts;
            assert_eq!(clock.read(START + at + jump, at), START + at + jump);
            assert_eq!((clock.followed, clock.suspected), (Some(jump), None));
        }
    }

    proptest! {
        /// A jump of less than a minute never moves the trusted time from the true time by more than the allowed drift, and
        /// slow drift is followed.
        #[test]
        fn short_jumps_move_nothing(jumps in prop::collection::vec((1_i64..50, -A_DAY..A_DAY, 60_i64..200), 1..20)) {
            let mut clock = clock();
            clock.read(START, 0);
            let mut at = 1_000;
            for (lasts, jump, calm) in jumps {
                for second in 0..lasts + calm {
                    let off = if second < lasts { jump } else { 0 };
                    let trusted = clock.read(START + at + off, at);
                    prop_assert!((trusted - START - at).abs() <= DRIFT, "{trusted} at {at}, off by {off}");
                    at += 1_000;
                }
            }
        }
    }
}
