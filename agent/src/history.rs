//! How a relay did over time, computed from its checks.

use brotr_storage::{Failure, Visit};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

const A_DAY: i64 = 86_400;
/// A result holds until the next check, but no longer than this: relays that are down are checked at least once a week.
pub const HOLDS: i64 = 8 * A_DAY;

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

/// A time over which every check found a relay down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Incident {
    /// The first check that found it down
    pub since: i64,
    /// The first check that found it up again; null while it lasts
    pub until: Option<i64>,
    /// Checks that found it down
    pub checks: usize,
    /// The failure code of its last check
    pub failure: Option<String>,
}

/// Returns the incidents, newest first, from checks and the failures among them, both newest first. Of one that began before the
/// oldest check, `since` is that check.
#[must_use]
pub fn incidents(visits: &[Visit], failures: &[Failure]) -> Vec<Incident> {
    let mut found: Vec<Incident> = Vec::new();
    // The check after the one at hand.
    let mut later: Option<&Visit> = None;
    for visit in visits {
        if !visit.up {
            match found.last_mut().filter(|_| later.is_some_and(|later| !later.up)) {
                Some(incident) => {
                    incident.since = visit.at;
                    incident.checks += 1;
                }
                None => {
                    let code = failures.binary_search_by(|failure| visit.at.cmp(&failure.at)).ok();
                    found.push(Incident {
                        since: visit.at,
                        until: later.map(|later| later.at),
                        checks: 1,
                        failure: code.and_then(|place| failures[place].code.clone()),
                    });
                }
            }
        }
        later = Some(visit);
    }
    found
}

/// Returns the uptime of each of the last `n` days (UTC), oldest first, in percent; `None` for a day of which nothing is known.
/// Checks come newest first; those of `HOLDS` before the first day count too.
#[must_use]
pub fn daily(visits: &[Visit], n: usize, now: i64) -> Vec<Option<u8>> {
    let today = now.div_euclid(A_DAY);
    let first = today + 1 - i64::try_from(n).unwrap_or(i64::MAX);
    let mut days = vec![(0_i64, 0_i64); n];
    let mut end = now;
    for visit in visits {
        let until = end.min(visit.at.saturating_add(HOLDS));
        let mut at = visit.at.max(first * A_DAY);
        while at < until {
            let day = at.div_euclid(A_DAY);
            let stop = until.min((day + 1) * A_DAY);
            let slot = &mut days[usize::try_from(day - first).expect("no day before the first")];
            slot.0 += stop - at;
            slot.1 += if visit.up { stop - at } else { 0 };
            at = stop;
        }
        end = end.min(visit.at);
    }
    let percent = |(known, up): (i64, i64)| (known > 0).then(|| (100 * up / known) as u8);
    days.into_iter().map(percent).collect()
}

/// Formats a share from 0 to 1. What is short of all is never shown as 100 %.
#[must_use]
pub fn percent(share: f64) -> String {
    if share >= 1.0 { "100 %".to_owned() } else { format!("{:.1} %", (share * 1_000.0).floor() / 10.0) }
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

    #[test]
    fn incidents_are_runs_of_failed_checks() {
        let visit = |at: i64, up: bool| Visit { at, up, rtt_ms: [None; 3] };
        let visits =
            [(90, false), (80, true), (70, false), (60, false), (50, true), (40, false)].map(|(at, up)| visit(at, up));
        let failure = |at: i64, code: &str| Failure { at, code: Some(code.into()) };
        let failures = [failure(90, "dns_nxdomain"), failure(70, "timeout_connect"), failure(60, "http_403")];
        let incident = |since, until, checks, failure: Option<&str>| Incident {
            since,
            until,
            checks,
            failure: failure.map(str::to_owned),
        };
        let wanted = [
            incident(90, None, 1, Some("dns_nxdomain")),
            incident(60, Some(80), 2, Some("timeout_connect")),
            incident(40, Some(50), 1, None),
        ];
        assert_eq!(incidents(&visits, &failures), wanted);
        assert!(incidents(&[], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn daily_uptime_is_the_uptime_of_each_day(
            times in prop::collection::btree_map(0..30 * 24_i64, any::<bool>(), 0..40),
            now in 30 * 24..33 * 24_i64,
            n in 1..20_usize,
        ) {
            let visits: Vec<Visit> = times
                .iter()
                .rev()
                .map(|(hour, up)| Visit { at: *hour * 3_600, up: *up, rtt_ms: [None; 3] })
                .collect();
            let now = now * 3_600;
            let today = now.div_euclid(A_DAY);
            let wanted: Vec<Option<u8>> = (0..n as i64)
                .rev()
                .map(|ago| {
                    let (since, until) = ((today - ago) * A_DAY, ((today - ago + 1) * A_DAY).min(now));
                    let before: Vec<Visit> = visits.iter().filter(|visit| visit.at < until).copied().collect();
                    let share = (until > since).then(|| uptime(&before, since, until)).flatten();
                    share.map(|share| (share * 100.0 + 1e-9) as u8)
                })
                .collect();
            prop_assert_eq!(daily(&visits, n, now), wanted);
        }

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
