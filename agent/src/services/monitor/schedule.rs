//! When to check a relay again: each interval with some jitter; a relay that does not answer soon, and then less and less
//! often.

pub(super) use crate::agent::LONGEST_WAIT;

/// Checks come up to this share of the interval early, and never late: the interval is announced.
const JITTER: f64 = 0.15;
/// The first failure may be ours: the relay is checked again after this share of the interval,
const SOON: i64 = 6;
/// but not before this many seconds.
const AT_ONCE: i64 = 60;

/// Returns seconds until a relay is checked again after `failures` consecutive failures. `dice` is from 0 to 1.
pub(super) fn wait(interval: i64, failures: i64, dice: f64) -> i64 {
    let whole = match failures {
        ..=0 => interval,
        1 => (interval / SOON).max(at_once(interval)),
        _ => {
            let doublings = u32::try_from((failures - 2).clamp(0, 20)).unwrap_or(20);
            interval.saturating_mul(1_i64 << doublings).min(LONGEST_WAIT.max(interval))
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a few days")]
    let early = (whole as f64 * JITTER * dice) as i64;
    (whole - early).max(1)
}

/// Returns seconds until a relay is checked again whose check was inconclusive.
pub(super) fn at_once(interval: i64) -> i64 {
    AT_ONCE.min(interval)
}

/// Returns seconds until the second check of a relay, which is at a random time within the interval.
pub(super) fn spread(interval: i64, dice: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a few days")]
    let wait = (interval as f64 * dice) as i64;
    wait.clamp(1, interval.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dead_relays_are_checked_less_and_less() {
        let waits: Vec<i64> = (0..20).map(|failures| wait(3_600, failures, 0.0)).collect();
        assert_eq!(waits[..6], [3_600, 600, 3_600, 7_200, 14_400, 28_800]);
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
        assert_eq!(wait(30 * 86_400, 5, 0.0), 30 * 86_400, "no more often than the operator wants");
        assert_eq!(wait(2, 1, 0.0), 2);
    }

    proptest! {
        #[test]
        fn announced_limits_are_honoured(interval in 1..100_000_i64, failures in 0..40_i64, dice in 0.0..1.0) {
            let well = wait(interval, 0, dice);
            prop_assert!(well <= interval && well * 100 >= interval * 84 - 100, "{well} of {interval}");
            prop_assert!((1..=LONGEST_WAIT.max(interval)).contains(&wait(interval, failures, dice)));
            prop_assert!((1..=interval).contains(&spread(interval, dice)));
        }
    }
}
