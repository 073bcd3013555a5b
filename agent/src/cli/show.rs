//! `brotr relays show`: one relay and its history.

use anyhow::Result;
use brotr_core::{RelayState, RelayUrl};
use brotr_storage::{Archive, Document, DocumentType, Relay};
use serde_json::{Value, json};

use super::{Shared, coverage, output};
use crate::agent::now;
use crate::config::Config;
use crate::history::History;
use crate::state::OBSERVED_CAP;

/// State changes that are printed.
const CHANGES: usize = 8;

/// Prints the relay.
pub(super) async fn show(shared: &Shared, config: &Config, archive: &dyn Archive, address: &RelayUrl) -> Result<()> {
    let url = address.as_str();
    let Some(relay) = archive.relay(url).await? else {
        anyhow::bail!("{address} is not in the archive: add it with brotr relays add {address}");
    };
    let documents = archive.documents(url).await?;
    let history = History::of(&archive.visits(url, 0, History::VISITS).await?, now());
    // What the synchronizer found out.
    let cap = OBSERVED_CAP.get(archive, url).await?.map(|cap| cap.events);
    let reports = archive.coverage(Some(url)).await?;
    let reached = config.network_settings().unreached(address.network());
    if shared.json {
        let mut shown = serde_json::to_value(&relay)?;
        shown["reached"] = json!(reached.is_none());
        shown["history"] = history.to_json();
        shown["observed_cap"] = json!(cap);
        shown["coverage"] = reports.iter().map(coverage::to_json).collect();
        for document in &documents {
            shown[document.kind.as_str()] = json!({"generated_at": document.generated_at,
                "data": parsed(&document.data), "rtt_ms": document.rtt_ms});
        }
        return output::json(&shown);
    }
    for line in lines(&relay, &documents, &history, cap, reached) {
        output::line(&line)?;
    }
    for report in &reports {
        output::line(&format!("archived of {}:", report.filter))?;
        for line in coverage::lines(report) {
            output::line(&format!("  {line}"))?;
        }
    }
    Ok(())
}

fn lines(
    relay: &Relay,
    documents: &[Document],
    history: &History,
    cap: Option<usize>,
    reached: Option<&'static str>,
) -> Vec<String> {
    let mut lines = vec![format!("{}  {}  {}", relay.url, relay.network, relay.state)];
    let mut add = |name: &str, value: String| lines.push(format!("  {name:<11}{value}"));
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
    let document = of(DocumentType::Nip11).map(|document| parsed(&document.data)).unwrap_or_default();
    let claimed = document["limitation"]["max_limit"].as_u64();
    if let Some(cap) = cap {
        let contradicts = if claimed.is_some_and(|claimed| claimed > cap as u64) { ": contradicts itself" } else { "" };
        let claimed = claimed.map_or_else(|| "nothing".to_owned(), |claimed| claimed.to_string());
        add("cap", format!("{cap} events per request, {claimed} claimed{contradicts}"));
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
