//! `brotr relays show`: one relay and its history.

use anyhow::Result;
use brotr_core::{RelayState, RelayUrl};
use brotr_storage::{Archive, CoverageReport, DocumentType, Relay};
use serde_json::{Value, json};

use super::table::{self, Column, Table};
use super::{Shared, coverage, output};
use crate::agent::now;
use crate::config::Config;
use crate::history::{History, percent};
use crate::relay_retention::{RETENTION, Retention};
use crate::state::{HINTS, Hints, Json, OBSERVED_CAP, OPTED_OUT};

/// State changes that are printed.
const CHANGES: usize = 8;
/// Gaps that are printed; `brotr coverage` prints all.
const GAPS: usize = 8;

/// Prints the relay.
///
/// With `documents`, its documents follow as they are stored.
pub(super) async fn show(
    shared: &Shared,
    config: &Config,
    archive: &dyn Archive,
    address: &RelayUrl,
    documents_too: bool,
) -> Result<()> {
    let url = address.as_str();
    let Some(relay) = archive.relay(url).await? else {
        anyhow::bail!("{address} is not in the archive: add it with brotr relays add {address}");
    };
    let documents = archive.documents(url).await?;
    let history = History::of(&archive.visits(url, 0, History::VISITS).await?, now());
    // What the synchronizer found out.
    let cap = OBSERVED_CAP.get(archive, url).await?.map(|cap| cap.events);
    let hints = HINTS.get(archive, url).await?;
    let opted_out = match relay.state {
        RelayState::OptedOut => OPTED_OUT.get(archive, url).await?,
        _ => None,
    };
    let opted_out = opted_out.map(|objection| objection.reason());
    let retention = RETENTION.get(archive, url).await?.map(|Json(retention)| retention);
    let reports = archive.coverage(Some(url)).await?;
    let reached = config.network_settings().unreached(address.network());
    if shared.json {
        let mut shown = serde_json::to_value(&relay)?;
        shown["reached"] = json!(reached.is_none());
        shown["history"] = history.to_json();
        shown["observed_cap"] = json!(cap);
        shown["hints"] = json!(hints.map(Hints::as_str));
        shown["opted_out"] = json!(opted_out);
        shown["retention"] = json!(retention);
        shown["coverage"] = reports.iter().map(coverage::to_json).collect();
        for document in &documents {
            shown[document.kind.as_str()] = json!({"generated_at": document.generated_at,
                "data": parsed(&document.data), "rtt_ms": document.rtt_ms});
        }
        return output::json(&shown);
    }
    let of = |kind: DocumentType| documents.iter().find(|document| document.kind == kind);
    let info = of(DocumentType::Nip11).map(|document| parsed(&document.data)).unwrap_or_default();
    let facts = of(DocumentType::Nip66).map(|document| parsed(&document.data)).unwrap_or_default();
    state(&relay, &facts, reached)?;
    some("Left alone", opted_out)?;
    says(&info, cap)?;
    found(&facts)?;
    match hints {
        Some(Hints::Confirmed { .. }) => item("Hints", "true each time (NIP-67)")?,
        Some(Hints::Refuted(at)) => {
            item("Hints", &format!("said that nothing is left, and had more, {}", output::time(at)))?
        }
        None => {}
    }
    past(&history)?;
    if !reports.is_empty() {
        output::heading("\nArchived")?;
    }
    for report in &reports {
        archived(report)?;
    }
    if let Some(retention) = retention {
        keeps(&retention)?;
    }
    for document in documents.iter().filter(|_| documents_too) {
        output::heading(&format!("\n{} of {}", document.kind, output::time(document.generated_at)))?;
        output::line(&serde_json::to_string_pretty(&parsed(&document.data))?)?;
    }
    Ok(())
}

/// Prints how far back the relay's history goes.
fn keeps(retention: &Retention) -> Result<()> {
    let at = output::time(retention.measured_at);
    output::heading("\nRetention")?;
    item("Measured", &format!("{at}, by asking for events of some authors"))?;
    let columns = ["Sampled", "Held", "Still held"].map(Column::Number);
    let mut table =
        Table::new(&[Column::Key("Class"), columns[0], columns[1], columns[2], Column::Text("Unbroken since")]);
    let share = |share: Option<f64>| share.map_or_else(String::new, percent);
    for class in retention.classes.iter().filter(|class| class.events + class.lost > 0) {
        let unknown = if class.has_ages() { "not even lately" } else { "too few to say" };
        let since = class.since.map_or_else(|| unknown.into(), output::time);
        let (sampled, held) = (output::number(class.events), share(class.share()));
        table.add(vec![
            class.class.as_str().into(),
            sampled.into(),
            held.into(),
            share(class.kept()).into(),
            since.into(),
        ]);
    }
    table.print(2)
}

/// The width of the names of a page.
const NAMES: usize = 12;

/// Prints a value with its name, cut to the width of the terminal.
fn item(name: &str, value: &str) -> Result<()> {
    output::line(&output::fit(&format!("  {name:<NAMES$}  {value}")))
}

/// Prints a value if there is one.
fn some(name: &str, value: Option<String>) -> Result<()> {
    value.filter(|value| !value.is_empty()).map_or(Ok(()), |value| item(name, &value))
}

fn state(relay: &Relay, facts: &Value, reached: Option<&'static str>) -> Result<()> {
    let at = now();
    output::heading(relay.url.as_str())?;
    let failure = facts["failure"].as_str().filter(|_| relay.state == RelayState::Down);
    item("State", &[Some(relay.state.as_str()), failure].into_iter().flatten().collect::<Vec<_>>().join(": "))?;
    item("Network", relay.network.as_str())?;
    some("Not reached", reached.map(str::to_owned))?;
    some(
        "Alias",
        (relay.state == RelayState::Alias).then(|| "it shows the document of the relay at its host's root".into()),
    )?;
    item("Found", &format!("{} ({})", output::time(relay.discovered_at), output::ago(relay.discovered_at, at)))?;
    let checked = relay.checked_at.map(|checked| format!("{} ({})", output::time(checked), output::ago(checked, at)));
    item("Checked", &checked.unwrap_or_else(|| "never".into()))
}

/// Prints what the relay says of itself (NIP-11).
fn says(info: &Value, cap: Option<usize>) -> Result<()> {
    let text = |name: &str| info[name].as_str().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    if info.is_object() {
        output::heading("\nIt says of itself")?;
    } else if cap.is_some() {
        output::heading("\nLimits")?;
    }
    for (name, key) in [("Name", "name"), ("About", "description"), ("Contact", "contact"), ("Operator", "pubkey")] {
        some(name, text(key))?;
    }
    let software = [text("software"), text("version")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    some("Software", Some(software))?;
    let nips = info["supported_nips"].as_array().into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
    some("NIPs", Some(nips.join(" ")))?;
    let limits = info["limitation"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    some("Limits", Some(limits.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")))?;
    let keeps = info["retention"].as_array().filter(|rules| !rules.is_empty());
    some("Retention", keeps.map(|rules| serde_json::Value::from(rules.clone()).to_string()))?;
    let Some(cap) = cap else { return Ok(()) };
    let claimed = info["limitation"]["max_limit"].as_u64();
    let contradicts = if claimed.is_some_and(|claimed| claimed > cap as u64) { ": contradicts itself" } else { "" };
    let claimed = claimed.map_or_else(|| "nothing".to_owned(), |claimed| claimed.to_string());
    item("Cap", &format!("{cap} events per request were found, {claimed} claimed{contradicts}"))
}

/// Prints what the last check found.
fn found(facts: &Value) -> Result<()> {
    let Some(checks) = facts["checks"].as_object() else { return Ok(()) };
    output::heading("\nThe last check found")?;
    for (name, outcome) in checks {
        let word = match outcome["ok"].as_bool() {
            Some(true) => "ok",
            Some(false) => "failed",
            None => "unknown",
        };
        let reason = outcome["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        item(name, &format!("{word}{reason}"))?;
    }
    for (name, probe) in facts["probes"].as_object().into_iter().flatten() {
        if let (Some(claimed), Some(found)) = (probe["claimed"].as_bool(), probe["found"].as_bool())
            && claimed != found
        {
            let (says, is) = if claimed { ("claims it", "not found") } else { ("denies it", "found") };
            item(name, &format!("contradicts itself: {says}, {is}"))?;
        }
    }
    let certificate = &facts["ssl"]["certificate"];
    let until = certificate["not_after"].as_i64().map(output::time);
    some(
        "Certificate",
        until.map(|until| format!("by {}, until {until}", certificate["issuer"].as_str().unwrap_or("?"))),
    )?;
    let place = [&facts["geo"]["city"], &facts["geo"]["country"], &facts["net"]["organisation"]];
    some("Place", Some(place.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")))?;
    some("Server", facts["http"]["server"].as_str().map(str::to_owned))?;
    let wants = facts["requires"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    some("Wants", Some(wants.join(", ")))
}

/// Prints uptime, round trips and changes.
fn past(history: &History) -> Result<()> {
    if history.checks == 0 {
        return Ok(());
    }
    output::heading(&format!("\nIts past, by {}", output::counted(history.checks as u64, "check")))?;
    let share = |share: &Option<f64>| share.map_or_else(|| "-".into(), percent);
    let parts: Vec<String> = history.uptime.iter().map(|(name, up)| format!("{name} {}", share(up))).collect();
    item("Uptime", &parts.join("   "))?;
    if history.rtt.iter().any(|(_, ms)| ms.is_some()) {
        let mut table = Table::new(&[
            Column::Key("Round trip"),
            Column::Number("p50"),
            Column::Number("p90"),
            Column::Number("p99"),
        ]);
        for (name, ms) in &history.rtt {
            if let Some(ms) = ms {
                let [p50, p90, p99] = ms.map(|ms| table::Value::from(format!("{} ms", output::number(ms))));
                table.add(vec![(*name).into(), p50, p90, p99]);
            }
        }
        table.print(2)?;
    }
    for (at, up) in history.changes.iter().take(CHANGES) {
        item(if *up { "Came up" } else { "Went down" }, &output::time(*at))?;
    }
    Ok(())
}

/// Prints what is proven to be archived, and the newest gaps.
fn archived(report: &CoverageReport) -> Result<()> {
    let everything = report.filter == "{}";
    if !everything {
        item("Filter", &report.filter)?;
    }
    let spans = [report.covered.first(), report.covered.last()];
    if let [Some(first), Some(last)] = spans {
        let since =
            if first.interval.since <= 0 { "the beginning".to_owned() } else { output::time(first.interval.since) };
        item("Proven", &format!("from {since} to {}", output::time(last.interval.until)))?;
    }
    item("Gaps", &output::number(report.gaps.len() as u64))?;
    if report.gaps.is_empty() {
        return Ok(());
    }
    let mut table =
        Table::new(&[Column::Key("Since"), Column::Key("Until"), Column::Text("Reason"), Column::Number("Seen")]);
    for gap in report.gaps.iter().rev().take(GAPS) {
        table.add(vec![
            output::time(gap.interval.since).into(),
            output::time(gap.interval.until).into(),
            gap.reason.to_string().into(),
            gap.count.map_or_else(String::new, output::number).into(),
        ]);
    }
    table.print(4)
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}
