//! `brotr relays list`: the relays with what is known of each.

use std::cmp::Reverse;
use std::collections::HashMap;

use anyhow::Result;
use brotr_core::{Network, RelayState};
use brotr_storage::{Archive, Overview, RelayQuery};
use clap::ValueEnum;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::output;
use super::table::{self, Column, Table, Tone, Value};
use crate::agent::now;
use crate::history::History;

/// Relays read per query.
const PAGE: i64 = 1_000;
/// Histories read concurrently.
const AT_ONCE: usize = 8;
const A_MONTH: i64 = 30 * 86_400;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Only relays whose URL or name contains this text
    text: Option<String>,
    /// Only these states: new, up, down, alias
    #[arg(long, value_delimiter = ',')]
    state: Vec<RelayState>,
    /// Only these networks: clearnet, tor, i2p, loki
    #[arg(long, value_delimiter = ',')]
    network: Vec<Network>,
    /// Only relays whose software contains this text
    #[arg(long, value_name = "TEXT")]
    software: Option<String>,
    /// Only relays that claim to support all of these NIPs
    #[arg(long, value_delimiter = ',', value_name = "NUMBER")]
    nip: Vec<u16>,
    /// Only relays in this country, such as DE
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// The order; fastest, most available and newest come first
    #[arg(long, value_enum, default_value_t = Sort::Url)]
    sort: Sort,
    /// At most this many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Url,
    Name,
    Rtt,
    Uptime,
    Checked,
    Discovered,
}

/// A relay of the list.
struct Listed {
    overview: Overview,
    about: About,
    /// Share of the last 30 days in which it was up, as far as known.
    uptime: Option<f64>,
}

/// What a relay says of itself, and where it is.
#[derive(Default)]
struct About {
    name: Option<String>,
    software: Option<String>,
    version: Option<String>,
    nips: Vec<u16>,
    country: Option<String>,
    failure: Option<String>,
}

/// Prints the relays that `args` select.
pub(super) async fn list(is_json: bool, archive: &dyn Archive, args: Args) -> Result<()> {
    let mut known = about(archive).await?;
    let mut query =
        RelayQuery { networks: args.network.clone(), states: args.state.clone(), limit: PAGE, ..RelayQuery::default() };
    let mut listed = Vec::new();
    loop {
        let page = archive.overview(&query).await?;
        let Some(last) = page.last() else { break };
        query.after = Some(last.relay.url.clone());
        for overview in page {
            let about = known.remove(&overview.relay.url).unwrap_or_default();
            if is_wanted(&args, &overview, &about) {
                listed.push(Listed { overview, about, uptime: None });
            }
        }
    }
    if args.sort == Sort::Uptime {
        listed = with_uptime(archive, listed).await?;
    }
    sort(&mut listed, args.sort);
    let all = listed.len();
    listed.truncate(args.limit.unwrap_or(usize::MAX));
    if args.sort != Sort::Uptime {
        listed = with_uptime(archive, listed).await?;
    }
    if is_json {
        return listed.iter().try_for_each(|one| output::json(&one.to_json()));
    }
    print(&listed)?;
    let shown = if listed.len() < all { format!("{} of ", output::number(listed.len() as u64)) } else { String::new() };
    eprintln!("{shown}{}", output::counted(all as u64, "relay"));
    Ok(())
}

/// Reads what is known of all relays, by URL.
async fn about(archive: &dyn Archive) -> Result<HashMap<String, About>> {
    const SQL: &str = "select relay_url, name, software, version, supported_nips, country, failure from relay_info \
        where checked_at is not null";
    let (sender, mut rows) = mpsc::channel::<Vec<Json>>(1_000);
    let read = async {
        let mut found = HashMap::new();
        let _names = rows.recv().await;
        while let Some(row) = rows.recv().await {
            let text = |place: usize| row.get(place).and_then(Json::as_str).map(str::to_owned);
            let about = About {
                name: text(1),
                software: text(2),
                version: text(3),
                nips: row.get(4).map(nips).unwrap_or_default(),
                country: text(5),
                failure: text(6),
            };
            found.extend(text(0).map(|url| (url, about)));
        }
        found
    };
    let (ran, found) = tokio::join!(archive.sql(SQL, sender), read);
    ran?;
    Ok(found)
}

/// Reads a list of numbers, which SQLite returns as text.
fn nips(value: &Json) -> Vec<u16> {
    let parsed = value.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok());
    let list = parsed.as_ref().unwrap_or(value).as_array();
    list.into_iter().flatten().filter_map(|nip| u16::try_from(nip.as_u64()?).ok()).collect()
}

fn is_wanted(args: &Args, overview: &Overview, about: &About) -> bool {
    let has = |text: Option<&str>, part: &Option<String>| match part {
        Some(part) => text.is_some_and(|text| text.to_lowercase().contains(&part.to_lowercase())),
        None => true,
    };
    (has(Some(&overview.relay.url), &args.text) || has(about.name.as_deref(), &args.text))
        && has(about.software.as_deref(), &args.software)
        && args.nip.iter().all(|nip| about.nips.contains(nip))
        && args
            .country
            .as_ref()
            .is_none_or(|code| about.country.as_ref().is_some_and(|at| at.eq_ignore_ascii_case(code)))
}

/// Computes the uptime of each relay.
async fn with_uptime(archive: &dyn Archive, listed: Vec<Listed>) -> Result<Vec<Listed>> {
    let at = now();
    let read = futures::stream::iter(listed).map(async |one| {
        if one.overview.relay.checked_at.is_none() {
            return Ok(one);
        }
        let visits = archive.visits(&one.overview.relay.url, at - A_MONTH, History::VISITS).await?;
        let [_, _, (_, uptime), _] = History::of(&visits, at).uptime;
        anyhow::Ok(Listed { uptime, ..one })
    });
    read.buffered(AT_ONCE).try_collect().await
}

fn sort(listed: &mut [Listed], by: Sort) {
    match by {
        Sort::Url => listed.sort_by(|a, b| a.overview.relay.url.cmp(&b.overview.relay.url)),
        Sort::Name => listed
            .sort_by_key(|one| (one.about.name.is_none(), one.about.name.as_ref().map(|name| name.to_lowercase()))),
        Sort::Rtt => listed.sort_by_key(|one| one.overview.rtt_ms[0].unwrap_or(i64::MAX)),
        Sort::Uptime => listed.sort_by(|a, b| b.uptime.unwrap_or(-1.0).total_cmp(&a.uptime.unwrap_or(-1.0))),
        Sort::Checked => listed.sort_by_key(|one| Reverse(one.overview.relay.checked_at)),
        Sort::Discovered => listed.sort_by_key(|one| Reverse(one.overview.relay.discovered_at)),
    }
}

impl Listed {
    fn to_json(&self) -> Json {
        let mut shown = json!(self.overview.relay);
        let About { name, software, version, nips, country, failure } = &self.about;
        for (key, value) in [
            ("name", json!(name)),
            ("software", json!(software)),
            ("version", json!(version)),
            ("supported_nips", json!(nips)),
            ("country", json!(country)),
            ("failure", json!(failure)),
            ("rtt_open_ms", json!(self.overview.rtt_ms[0])),
            ("uptime_month", json!(self.uptime)),
        ] {
            shown[key] = value;
        }
        shown
    }

    /// Returns the software without the address of its repository.
    fn software(&self) -> String {
        let software =
            self.about.software.as_deref().unwrap_or_default().trim_end_matches('/').trim_end_matches(".git");
        let name = software.rsplit('/').next().unwrap_or_default();
        [name, self.about.version.as_deref().unwrap_or_default()].join(" ").trim().to_owned()
    }
}

/// Prints a table, with as many columns as the terminal has room for.
fn print(listed: &[Listed]) -> Result<()> {
    let at = now();
    let width = table::terminal_width().unwrap_or(u16::MAX);
    let mut columns =
        vec![Column::Key("State"), Column::Number("RTT"), Column::Number("Up 30 d"), Column::Text("Relay")];
    if width >= 80 {
        columns.extend([Column::Text("Name"), Column::Key("Checked")]);
    }
    if width >= 110 {
        columns.extend([Column::Text("Software"), Column::Key("Country"), Column::Key("Network")]);
    }
    let shown = columns.len();
    let mut table = Table::new(&columns);
    for one in listed {
        let relay = &one.overview.relay;
        let tone = match relay.state {
            RelayState::Up => Tone::Good,
            RelayState::Down => Tone::Bad,
            RelayState::New | RelayState::Alias => Tone::Faint,
        };
        // A relay that is down has said something of itself earlier.
        let about = match relay.state {
            RelayState::Down => one.about.failure.as_deref(),
            _ => one.about.name.as_deref(),
        };
        let mut values: Vec<Value> = vec![
            Value::from(relay.state.as_str()).toned(tone),
            one.overview.rtt_ms[0].map_or_else(String::new, |ms| format!("{} ms", output::number(ms))).into(),
            one.uptime.map_or_else(String::new, output::percent).into(),
            relay.url.as_str().into(),
            about.unwrap_or_default().into(),
            relay.checked_at.map_or_else(|| "never".to_owned(), |checked| output::ago(checked, at)).into(),
            one.software().into(),
            one.about.country.as_deref().unwrap_or_default().into(),
            relay.network.as_str().into(),
        ];
        values.truncate(shown);
        table.add(values);
    }
    table.print(0)
}
