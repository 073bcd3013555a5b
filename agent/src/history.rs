//! How a relay did over time, computed from its checks.

use brotr_storage::Visit;
use serde_json::{Value, json};

const A_DAY: i64 = 86_400;
/// A result holds until the next check, but no longer than this: relays that are down are checked at least once a week.
const HOLDS: i64 = 8 * A_DAY;

/// The history of a relay.
#[derive(Debug)]
pub struct History {
    /// Share of the known time that it was up: last day, week, month, and all time; `None` without checks.
    pub uptime: [(&'static str, Option<f64>); 4],
    /// 50th, 90th and 99th percentile of each round trip, in milliseconds.
    pub rtt: [(&'static str, Option<[i64; 3]>); 3],
    /// When it came up or went down, newest first.
    pub changes: Vec<(i64, bool)>,
    /// Number of checks.
    pub checks: usize,
}

impl History {
    /// The most checks that are read: 90 days at two per hour.
    pub const VISITS: i64 = 5_000;

    /// Computes the history from checks, newest first.
    #[must_use]
    pub fn of(visits: &[Visit], now: i64) -> Self {
        let share = |since: i64| uptime(visits, since, now);
        let percentiles = |phase: usize| {
            let mut all: Vec<i64> = visits.iter().filter_map(|visit| visit.rtt_ms[phase]).collect();
            all.sort_unstable();
            let at = |hundredth: usize| all[((all.len() * hundredth).div_ceil(100)).max(1) - 1];
            (!all.is_empty()).then(|| [50, 90, 99].map(at))
        };
        let changes = visits.windows(2).filter(|pair| pair[0].up != pair[1].up).map(|pair| (pair[0].at, pair[0].up));
        Self {
            uptime: [
                ("day", share(now - A_DAY)),
                ("week", share(now - 7 * A_DAY)),
                ("month", share(now - 30 * A_DAY)),
                ("all", share(i64::MIN)),
            ],
            rtt: [("open", percentiles(0)), ("read", percentiles(1)), ("write", percentiles(2))],
            changes: changes.collect(),
            checks: visits.len(),
        }
    }

    /// Returns the history as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let uptime: Value = self.uptime.iter().map(|(name, share)| ((*name).to_owned(), json!(share))).collect();
        let rtt: Value = self
            .rtt
            .iter()
            .map(|(name, ms)| {
                ((*name).to_owned(), json!(ms.map(|[p50, p90, p99]| json!({"p50": p50, "p90": p90, "p99": p99}))))
            })
            .collect();
        let changes: Vec<Value> = self.changes.iter().map(|(at, up)| json!({"at": at, "up": up})).collect();
        json!({"checks": self.checks, "uptime": uptime, "rtt_ms": rtt, "changes": changes})
    }
}

/// Returns the share of the known time from `since` to `now` in which a relay was up, from its checks, newest first.
#[expect(clippy::cast_precision_loss, reason = "seconds of some years")]
fn uptime(visits: &[Visit], since: i64, now: i64) -> Option<f64> {
    let (mut known, mut up, mut end) = (0_i64, 0_i64, now);
    for visit in visits {
        let until = end.min(visit.at.saturating_add(HOLDS));
        let seconds = until.saturating_sub(visit.at.max(since)).max(0);
        known += seconds;
        up += if visit.up { seconds } else { 0 };
        end = end.min(visit.at);
    }
    if known > 0 {
        return Some(up as f64 / known as f64);
    }
    // A check in this very second.
    let newest = visits.first().filter(|visit| visit.at >= since)?;
    Some(if newest.up { 1.0 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uptime_is_a_share_of_time_and_not_of_checks() {
        let now = 100 * A_DAY;
        let visit = |seconds_ago: i64, up: bool| Visit { at: now - seconds_ago, up, rtt_ms: [None; 3] };
        // Up for 13 minutes, checked each minute; then down for the rest of a day, checked four times.
        let minutes = (0..13).map(|minute| visit(A_DAY - minute * 60, true));
        let rest = [A_DAY - 13 * 60, 20 * 3_600, 10 * 3_600, 3_600].map(|ago| visit(ago, false));
        let visits: Vec<Visit> = minutes.chain(rest).rev().collect();
        let day = uptime(&visits, now - A_DAY, now).expect("known");
        assert!((day - 13.0 / 1_440.0).abs() < 1e-9, "{day}");
        // A result from before the window holds into it.
        assert_eq!(uptime(&[visit(1_800, false), visit(5_400, true)], now - 3_600, now), Some(0.5));
        assert_eq!(uptime(&[visit(2 * A_DAY, true)], now - A_DAY, now), Some(1.0));
        // Not indefinitely; unknown time is not counted.
        assert_eq!(uptime(&[visit(10 * A_DAY, true)], now - A_DAY, now), None);
        assert_eq!(uptime(&[visit(4 * A_DAY, false), visit(20 * A_DAY, true)], i64::MIN, now), Some(8.0 / 12.0));
        // A single check counts from its time on.
        assert_eq!(uptime(&[visit(0, false)], now - A_DAY, now), Some(0.0));
        assert_eq!(uptime(&[visit(0, true), visit(30, false)], now - A_DAY, now), Some(0.0));
        assert_eq!(uptime(&[], i64::MIN, now), None);
    }

    proptest! {
        #[test]
        fn uptime_is_what_counting_seconds_gives(
            times in prop::collection::btree_map(0..200_i64, any::<bool>(), 0..12),
            now in 200..260_i64,
            since in 0..260_i64,
        ) {
            let visits: Vec<Visit> =
                times.iter().rev().map(|(at, up)| Visit { at: *at, up: *up, rtt_ms: [None; 3] }).collect();
            let seconds: Vec<bool> =
                (since..now).filter_map(|second| times.range(..=second).next_back().map(|(_, up)| *up)).collect();
            let wanted = match seconds.len() {
                0 => visits.first().filter(|visit| visit.at >= since).map(|visit| f64::from(u8::from(visit.up))),
                n => Some(seconds.iter().filter(|up| **up).count() as f64 / n as f64),
            };
            prop_assert_eq!(uptime(&visits, since, now), wanted);
        }
    }

    #[test]
    fn a_history_summarizes_visits() {
        let now = 100 * A_DAY;
        let visit = |hours_ago: i64, up: bool, ms: i64| Visit {
            at: now - hours_ago * 3_600,
            up,
            rtt_ms: [up.then_some(ms), None, None],
        };
        // Down for the four hours before the last two; newest first.
        let visits: Vec<Visit> = (0..200).map(|hour| visit(hour, !(2..6).contains(&hour), 10 + hour)).collect();
        let history = History::of(&visits, now);
        assert_eq!(history.changes, [(now - 3_600, true), (now - 5 * 3_600, false)]);
        let [day, week, ..] = history.uptime.map(|(_, share)| share.expect("checked"));
        assert!((day - 20.0 / 24.0).abs() < 1e-9 && (week - 164.0 / 168.0).abs() < 1e-9, "{day} {week}");
        assert_eq!(history.rtt[0].1, Some([111, 190, 208]));
        assert_eq!(history.rtt[1].1, None);
        let nothing = History::of(&[], now);
        assert!(nothing.uptime.iter().all(|(_, share)| share.is_none()) && nothing.changes.is_empty());
    }
}
