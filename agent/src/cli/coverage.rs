//! `brotr coverage`

use anyhow::Result;
use brotr_core::{Guard, RelayUrl};
use brotr_storage::CoverageReport;
use serde_json::{Value as Json, json};

use super::failure::Failure;
use super::table::{Column, Table, Tone, Value};
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
        print(&report)?;
    }
    Ok(Done::Well)
}

/// Returns the coverage and the gaps of a relay and filter as JSON.
pub(super) fn to_json(report: &CoverageReport) -> Json {
    let covered = report.covered.iter().map(
        |c| json!({"since": c.interval.since, "until": c.interval.until, "method": c.method, "proven_at": c.proven_at}),
    );
    let gaps = report.gaps.iter().map(|g| {
        json!({"since": g.interval.since, "until": g.interval.until, "reason": g.reason, "count": g.count, "tried_at": g.tried_at})
    });
    let filter: Json = serde_json::from_str(&report.filter).unwrap_or(Json::Null);
    json!({"relay": report.relay, "filter": filter,
        "covered": covered.collect::<Vec<_>>(), "gaps": gaps.collect::<Vec<_>>()})
}

/// Prints the coverage and the gaps of a relay and filter, in order of time.
fn print(report: &CoverageReport) -> Result<()> {
    output::heading(&report.relay)?;
    if report.filter != "{}" {
        output::line(&format!("  filter {}", report.filter))?;
    }
    let proven = report.covered.iter().map(|claim| (claim.interval, Tone::Good, "proven", claim.method.as_str(), None));
    let gaps = report.gaps.iter().map(|gap| (gap.interval, Tone::Bad, "gap", gap.reason.as_str(), gap.count));
    let mut spans: Vec<_> = proven.chain(gaps).collect();
    spans.sort_by_key(|span| (span.0.since, span.0.until));
    let columns = ["Since", "Until", "State", "By"].map(Column::Key);
    let mut table = Table::new(&[columns[0], columns[1], columns[2], columns[3], Column::Number("Seen")]);
    for (interval, tone, state, by, seen) in spans {
        let since = if interval.since <= 0 { "the beginning".to_owned() } else { output::time(interval.since) };
        table.add(vec![
            since.into(),
            output::time(interval.until).into(),
            Value::from(state).toned(tone),
            by.into(),
            seen.map_or_else(String::new, output::number).into(),
        ]);
    }
    table.print(2)
}
