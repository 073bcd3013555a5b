//! `brotr relays show`: what is known of one relay, and how it did over time.

use anyhow::Result;
use brotr_storage::{Archive, Document, DocumentType, Relay, RelayState, Visit};
use serde_json::{Value, json};

use super::{Shared, output};
use crate::agent::now;
use crate::config::Config;
use crate::net::Address;

/// Checks that are looked at: of 90 days, one each half hour.
const MOST: i64 = 5_000;
const A_DAY: i64 = 86_400;
/// Changes that people are shown.
const CHANGES: usize = 8;

/// What the checks of some time show.
struct History {
    /// Share of checks that found it up, of the last day, week, month and of all; nothing where there were none.
    uptime: [(&'static str, Option<f64>); 4],
    /// Median, 90th and 99th of a hundred of each round trip, in milliseconds.
    rtt: [(&'static str, Option<[i64; 3]>); 3],
    /// When it came up or went down, newest first.
    changes: Vec<(i64, bool)>,
    checks: usize,
}

impl History {
    fn of(visits: &[Visit], now: i64) -> Self {
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

    fn to_json(&self) -> Value {
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

/// Prints it.
pub(super) async fn show(shared: &Shared, config: &Config, archive: &dyn Archive, address: &Address) -> Result<()> {
    let url = address.as_str();
    let Some(relay) = archive.relay(url).await? else {
        anyhow::bail!("{address} is not in the archive: add it with brotr relays add {address}");
    };
    let documents = archive.documents(url).await?;
    let history = History::of(&archive.visits(url, 0, MOST).await?, now());
    // What the synchronizer learned while it read.
    let cap = archive.state("synchronizer", "cap", url).await?;
    let cap = cap.and_then(|kept| kept.split(' ').next().and_then(|cap| cap.parse::<u64>().ok()));
    let reached = crate::net::dial::unreached(&config.network, config.uses_tor(), address.network());
    if shared.json {
        let mut shown = serde_json::to_value(&relay)?;
        shown["reached"] = json!(reached.is_none());
        shown["history"] = history.to_json();
        shown["observed_cap"] = json!(cap);
        for document in &documents {
            shown[document.kind.as_str()] = json!({"generated_at": document.generated_at,
                "data": parsed(&document.data), "rtt_ms": document.rtt_ms});
        }
        return output::json(&shown);
    }
    for line in lines(&relay, &documents, &history, cap, reached) {
        output::line(&line)?;
    }
    Ok(())
}

fn lines(
    relay: &Relay,
    documents: &[Document],
    history: &History,
    cap: Option<u64>,
    reached: Option<&'static str>,
) -> Vec<String> {
    let mut lines = vec![format!("{}  {}  {}", relay.url, relay.network, relay.state)];
    let mut add = |name: &str, says: String| lines.push(format!("  {name:<11}{says}"));
    add("found", output::time(relay.discovered_at));
    add("checked", relay.checked_at.map_or_else(|| "never".into(), output::time));
    if let Some(why) = reached {
        add("not reached", format!(": {why}"));
    }
    if relay.state == RelayState::Alias {
        add("alias", "it shows the document of the relay at its host's root".into());
    }
    let percent = |share: &Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.1} %", share * 100.0));
    if history.checks > 0 {
        let parts: Vec<String> =
            history.uptime.iter().map(|(name, share)| format!("{name} {}", percent(share))).collect();
        add("up", format!("{} ({})", parts.join(", "), output::counted(history.checks as u64, "check")));
    }
    for (name, ms) in &history.rtt {
        if let Some([p50, p90, p99]) = ms {
            add(name, format!("{p50} ms in the middle, {p90} ms of 90 %, {p99} ms of 99 %"));
        }
    }
    for (at, up) in history.changes.iter().take(CHANGES) {
        add(if *up { "came up" } else { "went down" }, output::time(*at));
    }
    let of = |kind: DocumentType| documents.iter().find(|document| document.kind == kind);
    let says = of(DocumentType::Nip11).map(|document| parsed(&document.data)).unwrap_or_default();
    let claimed = says["limitation"]["max_limit"].as_u64();
    if let Some(cap) = cap {
        let contradicts = if claimed.is_some_and(|claimed| claimed > cap) { ": contradicts itself" } else { "" };
        let claimed = claimed.map_or_else(|| "nothing".to_owned(), |claimed| claimed.to_string());
        add("cap", format!("{cap} events at a time were found, {claimed} is said{contradicts}"));
    }
    for document in documents {
        let text = serde_json::to_string_pretty(&parsed(&document.data)).unwrap_or_default();
        lines.push(format!("{} of {}:\n{text}", document.kind, output::time(document.generated_at)));
    }
    lines
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
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
