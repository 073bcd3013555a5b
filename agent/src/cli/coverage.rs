//! `brotr coverage`

use anyhow::Result;
use brotr_core::{Guard, RelayUrl};
use brotr_storage::CoverageReport;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Access, Done, Shared, output};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Only this relay
    url: Option<String>,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let guard = Guard::new(config.network.allow.clone());
    let address =
        args.url.map(|url| RelayUrl::parse(&url, &guard).map_err(|e| Failure::usage(format_args!("{url}: {e}"))));
    let address = address.transpose()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let reports = archive.coverage(address.as_ref().map(RelayUrl::as_str)).await?;
    if let (Some(address), true) = (&address, reports.is_empty()) {
        eprintln!("nothing of {address} was synchronized so far: brotr sync {address} does it now");
    }
    for report in reports {
        if shared.json {
            output::json(&to_json(&report))?;
            continue;
        }
        output::line(&format!("{}  {}", report.relay, report.filter))?;
        for line in lines(&report) {
            output::line(&format!("  {line}"))?;
        }
    }
    Ok(Done::Well)
}

/// Returns the coverage and the gaps of a relay and filter as JSON.
pub(super) fn to_json(report: &CoverageReport) -> Value {
    let covered = report.covered.iter().map(
        |c| json!({"since": c.interval.since, "until": c.interval.until, "method": c.method, "proven_at": c.proven_at}),
    );
    let gaps = report.gaps.iter().map(|g| {
        json!({"since": g.interval.since, "until": g.interval.until, "reason": g.reason, "count": g.count, "tried_at": g.tried_at})
    });
    let filter: Value = serde_json::from_str(&report.filter).unwrap_or(Value::Null);
    json!({"relay": report.relay, "filter": filter,
        "covered": covered.collect::<Vec<_>>(), "gaps": gaps.collect::<Vec<_>>()})
}

/// Returns the same as text, one line per item.
pub(super) fn lines(report: &CoverageReport) -> Vec<String> {
    let proven = report.covered.iter().map(|c| {
        let (since, until) = (output::time(c.interval.since), output::time(c.interval.until));
        format!("proven  {since} to {until}  ({})", c.method)
    });
    let gaps = report.gaps.iter().map(|g| {
        let (since, until) = (output::time(g.interval.since), output::time(g.interval.until));
        let count = g.count.map(|n| format!(", {n} events seen")).unwrap_or_default();
        format!("GAP     {since} to {until}  ({}{count})", g.reason)
    });
    proven.chain(gaps).collect()
}
