//! How a relay did over time, from what its checks found.

use brotr_storage::Visit;
use serde_json::{Value, json};

const A_DAY: i64 = 86_400;

/// What the checks of some time show.
#[derive(Debug)]
pub struct History {
    /// Share of checks that found it up, of the last day, week, month and of all; nothing where there were none.
    pub uptime: [(&'static str, Option<f64>); 4],
    /// Median, 90th and 99th of a hundred of each round trip, in milliseconds.
    pub rtt: [(&'static str, Option<[i64; 3]>); 3],
    /// When it came up or went down, newest first.
    pub changes: Vec<(i64, bool)>,
    /// How many checks there were.
    pub checks: usize,
}

impl History {
    /// Checks that are looked at: of 90 days, one each half hour.
    pub const VISITS: i64 = 5_000;

    /// What these checks show, newest first.
    #[must_use]
    pub fn of(visits: &[Visit], now: i64) -> Self {
        let share = |since: i64| {
            let (mut checks, mut up) = (0_u32, 0_u32);
            for visit in visits.iter().filter(|visit| visit.at >= since) {
                checks += 1;
                up += u32::from(visit.up);
            }
            (checks > 0).then(|| f64::from(up) / f64::from(checks))
        };
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

    /// As data.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_how_a_relay_did() {
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
        assert!((day - 21.0 / 25.0).abs() < 1e-9 && (week - 165.0 / 169.0).abs() < 1e-9, "{day} {week}");
        assert_eq!(history.rtt[0].1, Some([111, 190, 208]));
        assert_eq!(history.rtt[1].1, None);
        let nothing = History::of(&[], now);
        assert!(nothing.uptime.iter().all(|(_, share)| share.is_none()) && nothing.changes.is_empty());
    }
}
