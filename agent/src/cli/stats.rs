//! `brotr stats`

use anyhow::Result;
use brotr_storage::{Deliveries, Stats};
use nostr::Kind;

use super::table::{Column, Table, Tone, Value};
use super::{Access, Done, Shared, output};
use crate::history::percent;
use crate::outbox::HERE;

/// Kinds that are printed.
const KINDS: usize = 20;

pub(super) async fn main(shared: &Shared) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let stats = archive.stats().await?;
    let mut deliveries = archive.deliveries().await?;
    deliveries.retain(|sent| sent.relay != HERE);
    if shared.json {
        let mut shown = serde_json::to_value(&stats)?;
        shown["publishing"] = serde_json::to_value(&deliveries)?;
        output::json(&shown)?;
        return Ok(Done::Well);
    }
    archived(&stats)?;
    counts("Relays", "State", stats.relays.iter())?;
    kinds(&stats)?;
    published(&deliveries)?;
    counts("Jobs", "Status", stats.jobs.iter())?;
    Ok(Done::Well)
}

fn archived(stats: &Stats) -> Result<()> {
    let per_event = stats.disk_bytes.checked_div(stats.events).unwrap_or(0);
    let per_event = if stats.events > 0 { format!("  ({} an event)", output::bytes(per_event)) } else { String::new() };
    output::heading("Archive")?;
    output::line(&format!("  Events     {} by {}", output::number(stats.events), authors(stats.pubkeys)))?;
    output::line(&format!("  Sightings  {}", output::number(stats.sightings)))?;
    output::line(&format!("  Disk       {}{per_event}", output::bytes(stats.disk_bytes)))?;
    output::line(&format!("  Outbox     {} waiting to be sent", output::number(stats.outbox)))
}

fn authors(n: i64) -> String {
    output::counted(n.max(0).cast_unsigned(), "author")
}

/// Prints numbers by a word; nothing if there are none.
fn counts<'a>(title: &str, what: &'static str, counts: impl Iterator<Item = (&'a String, &'a i64)>) -> Result<()> {
    let mut table = Table::new(&[Column::Key(what), Column::Number("Count")]);
    let mut is_empty = true;
    for (word, n) in counts {
        let tone = match word.as_str() {
            "up" | "answered" => Some(Tone::Good),
            "down" | "failed" => Some(Tone::Bad),
            _ => None,
        };
        let value = Value::from(word.as_str());
        table.add(vec![tone.map_or(value.clone(), |tone| value.toned(tone)), output::number(*n).into()]);
        is_empty = false;
    }
    if is_empty {
        return Ok(());
    }
    output::heading(&format!("\n{title}"))?;
    table.print(2)
}

fn kinds(stats: &Stats) -> Result<()> {
    if stats.kinds.is_empty() {
        return Ok(());
    }
    let mut kinds: Vec<_> = stats.kinds.iter().collect();
    kinds.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let all = kinds.len();
    let shown = if all > KINDS {
        format!("\nEvents by kind (the {KINDS} most frequent of {all})")
    } else {
        "\nEvents by kind".into()
    };
    output::heading(&shown)?;
    let mut table =
        Table::new(&[Column::Number("Kind"), Column::Number("Events"), Column::Number("Share"), Column::Text("Name")]);
    for (kind, n) in kinds.into_iter().take(KINDS) {
        #[expect(clippy::cast_precision_loss, reason = "a share of two counts")]
        let share = *n as f64 / stats.events.max(1) as f64;
        table.add(vec![kind.to_string().into(), output::number(*n).into(), percent(share).into(), name(*kind).into()]);
    }
    table.print(2)
}

/// Returns the name of a kind in words: "text note".
fn name(kind: i64) -> String {
    let Ok(kind) = u16::try_from(kind) else { return String::new() };
    let name = format!("{:?}", Kind::from(kind));
    if name.contains('(') {
        return String::new();
    }
    let mut words = String::with_capacity(name.len() + 4);
    for (place, c) in name.char_indices() {
        if c.is_uppercase() && place > 0 {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn published(deliveries: &[Deliveries]) -> Result<()> {
    if deliveries.is_empty() {
        return Ok(());
    }
    output::heading("\nPublished")?;
    let mut table = Table::new(&[
        Column::Key("Relay"),
        Column::Number("Accepted"),
        Column::Number("Refused"),
        Column::Number("Waiting"),
        Column::Text("Last trouble"),
    ]);
    for Deliveries { relay, accepted, refused, waiting, trouble } in deliveries {
        let refusals = Value::from(output::number(*refused));
        table.add(vec![
            relay.as_str().into(),
            output::number(*accepted).into(),
            if *refused > 0 { refusals.toned(Tone::Bad) } else { refusals },
            output::number(*waiting).into(),
            trouble.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.print(2)
}
