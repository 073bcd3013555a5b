//! `brotr relays list`: the relays with what is known of each.

use anyhow::Result;
use brotr_core::{Network, RelayState};
use brotr_storage::Archive;
use serde_json::{Value as Json, json};

use super::output;
use super::table::{self, Column, Table, Tone, Value};
use crate::agent::now;
use crate::catalog::{Catalog, Entry, Facts, Order, Selection};
use crate::history::percent;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Only relays whose URL or name contains this text
    text: Option<String>,
    /// Only these states: new, up, down, alias, opted-out
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
    /// url, name, state, software, country, rtt, uptime, events, checked or discovered; fastest, most and newest come first,
    /// with a minus before it last
    #[arg(long, default_value = "url", allow_hyphen_values = true)]
    sort: Order,
    /// At most this many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Prints the relays that `args` select.
pub(super) async fn list(is_json: bool, archive: &dyn Archive, args: Args) -> Result<()> {
    let catalog = Catalog::new(0);
    catalog.refresh(archive, archive).await?;
    let selection = Selection {
        networks: args.network,
        states: args.state,
        text: args.text.unwrap_or_default(),
        software: args.software.unwrap_or_default(),
        nips: args.nip,
        country: args.country.unwrap_or_default(),
    };
    let page = catalog.page(&selection, args.sort, None, args.limit.unwrap_or(usize::MAX));
    let (listed, all) = page.map(|page| (page.entries, page.total)).unwrap_or_default();
    if is_json {
        return listed.iter().try_for_each(|entry| output::json(&to_json(entry)));
    }
    print(&listed)?;
    let shown = if listed.len() < all { format!("{} of ", output::number(listed.len() as u64)) } else { String::new() };
    eprintln!("{shown}{}", output::counted(all as u64, "relay"));
    Ok(())
}

fn to_json(entry: &Entry) -> Json {
    let mut shown = json!(entry.relay);
    let Facts { name, software, version, nips, country, failure, rtt_ms, uptime, .. } = entry.facts.as_ref();
    for (key, value) in [
        ("name", json!(name)),
        ("software", json!(software)),
        ("version", json!(version)),
        ("supported_nips", json!(nips)),
        ("country", json!(country)),
        ("failure", json!(failure)),
        ("rtt_open_ms", json!(rtt_ms[0])),
        ("uptime_month", json!(uptime[2])),
    ] {
        shown[key] = value;
    }
    shown
}

/// Prints a table, with as many columns as the terminal has room for.
fn print(listed: &[Entry]) -> Result<()> {
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
    for Entry { relay, facts } in listed {
        let tone = match relay.state {
            RelayState::Up => Tone::Good,
            RelayState::Down => Tone::Bad,
            RelayState::New | RelayState::Alias | RelayState::OptedOut => Tone::Faint,
        };
        // A relay that is down has said something of itself earlier.
        let about = match relay.state {
            RelayState::Down => facts.failure.as_deref(),
            _ => facts.name.as_deref(),
        };
        let software = [facts.software_name(), facts.version.as_deref()].map(Option::unwrap_or_default).join(" ");
        let mut values: Vec<Value> = vec![
            Value::from(relay.state.as_str()).toned(tone),
            facts.rtt_ms[0].map_or_else(String::new, |ms| format!("{} ms", output::number(ms))).into(),
            facts.uptime[2].map_or_else(String::new, percent).into(),
            relay.url.as_str().into(),
            about.unwrap_or_default().into(),
            relay.checked_at.map_or_else(|| "never".to_owned(), |checked| output::ago(checked, at)).into(),
            software.trim().into(),
            facts.country.as_deref().unwrap_or_default().into(),
            relay.network.as_str().into(),
        ];
        values.truncate(shown);
        table.add(values);
    }
    table.print(0)
}
