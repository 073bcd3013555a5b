//! `brotr relays for` and `brotr history`: where authors' events are, and earlier versions of their profiles and lists.

use anyhow::Result;
use brotr_core::{Guard, escape};
use brotr_storage::{Archive, Cursor};
use nostr::PublicKey;
use nostr::nips::nip19::ToBech32;
use serde_json::Value as Json;

use super::failure::Failure;
use super::table::{Column, Table, Tone, Value};
use super::{Access, Done, Shared, output};
use crate::agent::now;
use crate::config::Config;
use crate::history::percent;
use crate::recall::{
    AuthorReport, Choice, ListReport, MAX_AUTHORS, Source, USUAL_FOR_MANY, USUAL_FOR_ONE, USUAL_RECALL, Wanted,
};
use crate::versions::{self, Address, Changes, Version};

/// Relays of one author that are printed.
const SHOWN: usize = 20;
/// Changes of a version that are printed.
const SHOWN_CHANGES: usize = 8;
/// The most characters of a value that is printed.
const LONGEST: usize = 60;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct RelaysArgs {
    /// Public keys (npub, nprofile or hex)
    #[arg(required = true, value_name = "NPUB")]
    authors: Vec<String>,
    /// The share of the events that is wanted, from 0 to 1
    #[arg(long, default_value_t = USUAL_RECALL, value_name = "SHARE")]
    recall: f64,
    /// The most relays; 3 for one author, 30 for several if left out
    #[arg(long, value_name = "N")]
    most: Option<usize>,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct HistoryArgs {
    /// The author's public key (npub, nprofile or hex)
    #[arg(value_name = "NPUB")]
    author: String,
    /// The kind: 0 (profile), 3 (follows), 10002 (relays), or another that is replaceable or addressable
    kind: u16,
    /// The d tag of an addressable event
    #[arg(default_value = "")]
    d: String,
    /// At most this many versions
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

fn key(text: &str) -> Result<PublicKey, Failure> {
    PublicKey::parse(text)
        .map_err(|_| Failure::usage(format_args!("{text:?} is no public key: give npub1..., nprofile1... or hex")))
}

/// Prints where the events of authors are.
pub(super) async fn relays(shared: &Shared, config: &Config, args: RelaysArgs) -> Result<Done> {
    if !(0.0..=1.0).contains(&args.recall) {
        return Err(Failure::usage("--recall is a number from 0 to 1").into());
    }
    if args.authors.len() > MAX_AUTHORS {
        return Err(Failure::usage(format_args!("{} authors: give at most {MAX_AUTHORS}", args.authors.len())).into());
    }
    let authors = args.authors.iter().map(|text| key(text)).collect::<Result<Vec<_>, _>>()?;
    let usual = if authors.len() == 1 { USUAL_FOR_ONE } else { USUAL_FOR_MANY };
    let wanted = Wanted { recall: args.recall, relays: args.most.unwrap_or(usual).max(1) };
    let archive = shared.archive(config, Access::Read).await?;
    let archive: &dyn Archive = archive.as_ref();
    let source = Source { events: archive, sightings: archive, relays: archive, now: now() };
    if let [author] = authors.as_slice() {
        let report = source.author(*author, wanted, &Guard::new(config.network.allow.clone())).await?;
        if shared.json {
            output::json(&report)?
        } else {
            print_author(&report)?
        }
        return Ok(Done::of(report.located > 0));
    }
    let report = source.authors(&authors, wanted).await?;
    if shared.json {
        output::json(&report)?
    } else {
        print_list(&report)?
    }
    Ok(Done::of(!report.chosen.is_empty()))
}

fn chosen(choices: &[Choice]) -> Result<()> {
    let mut table = Table::new(&[Column::Number("Together"), Column::Text("Read from")]);
    for choice in choices {
        table.add(vec![percent(choice.recall).into(), choice.relay.as_str().into()]);
    }
    table.print(2)
}

fn print_author(report: &AuthorReport) -> Result<()> {
    output::heading(&report.author.to_bech32()?)?;
    let (Some(since), Some(until), true) = (report.since, report.until, report.located > 0) else {
        let archived = output::counted(report.events as u64, "event");
        return output::line(&format!("  {archived} of this author in the archive, and no relay was seen to hold any"));
    };
    let events = output::counted(report.located as u64, "event");
    output::line(&format!("  by {events}, sampled from {} to {}", output::time(since), output::time(until)))?;
    output::line("")?;
    chosen(&report.chosen)?;
    output::heading("\nAll relays that hold any")?;
    let columns = [Column::Number("Recent"), Column::Number("Earlier"), Column::Key("State"), Column::Key("Listed")];
    let mut table = Table::new(&[columns[0], columns[1], columns[2], columns[3], Column::Text("Relay")]);
    for share in report.relays.iter().take(SHOWN) {
        let part = |part: Option<f64>| part.map_or_else(String::new, percent);
        let (state, tone) = if share.is_up { ("up", Tone::Good) } else { ("not up", Tone::Bad) };
        table.add(vec![
            part(share.recent).into(),
            part(share.earlier).into(),
            Value::from(state).toned(tone),
            if share.is_listed { "yes" } else { "" }.into(),
            share.relay.as_str().into(),
        ]);
    }
    table.print(2)?;
    if report.relays.len() > SHOWN {
        output::line(&format!("  and {} more", report.relays.len() - SHOWN))?;
    }
    let list = match &report.list {
        None => "The archive has no relay list (kind 10002) of this author.".to_owned(),
        Some(list) => format!(
            "The author's own list of {} names {}, which give {}.",
            output::time(list.created_at),
            output::counted(list.write.len() as u64, "write relay"),
            percent(list.recall)
        ),
    };
    output::line(&format!("\n{list}"))
}

fn print_list(report: &ListReport) -> Result<()> {
    let located = report.authors.iter().filter(|author| author.recall.is_some()).count();
    let all = output::counted(report.authors.len() as u64, "author");
    output::line(&format!("{located} of {all} have events that a relay was seen to hold"))?;
    chosen(&report.chosen)?;
    output::line("")?;
    let mut table = Table::new(&[Column::Number("Given"), Column::Number("Relays"), Column::Text("Author")]);
    for author in &report.authors {
        table.add(vec![
            author.recall.map_or_else(|| "unknown".to_owned(), percent).into(),
            author.relays.len().to_string().into(),
            author.author.to_bech32()?.into(),
        ]);
    }
    table.print(2)
}

/// Prints the versions of an event.
pub(super) async fn history(shared: &Shared, args: HistoryArgs) -> Result<Done> {
    let address = Address::new(key(&args.author)?, args.kind, &args.d).map_err(Failure::usage)?;
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let (mut left, mut after, mut printed) = (args.limit, None::<Cursor>, 0_u64);
    while left > 0 {
        let (versions, next) = versions::list(archive.as_ref(), &address, after, left, now()).await?;
        for version in &versions {
            if shared.json { output::json(version)? } else { print_version(version)? }
        }
        printed += versions.len() as u64;
        left -= versions.len().min(left);
        after = next;
        if after.is_none() {
            break;
        }
    }
    eprintln!("{}", output::counted(printed, "version"));
    Ok(Done::of(printed > 0))
}

fn print_version(version: &Version) -> Result<()> {
    let event = &version.event;
    output::heading(&format!("{}  {}", output::time(event.created_at), event.id))?;
    let Some(changes) = &version.changes else {
        return output::line(&format!(
            "  the oldest in the archive: {}",
            output::counted(event.tags.len() as u64, "tag")
        ));
    };
    let lines = changed(changes);
    if lines.is_empty() {
        output::line("  signed again without a change")?;
    }
    for line in lines.iter().take(SHOWN_CHANGES) {
        output::line(&output::fit(&format!("  {line}")))?;
    }
    if lines.len() > SHOWN_CHANGES {
        output::line(&format!("  and {} more changes", lines.len() - SHOWN_CHANGES))?;
    }
    Ok(())
}

/// Returns changes, a line for each.
fn changed(changes: &Changes) -> Vec<String> {
    let cut = |text: String| match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", escape(&text[..end])),
        None => escape(&text).into_owned(),
    };
    let field = |(name, value): (&String, &Json)| match value {
        Json::Null => cut(format!("- {name}")),
        Json::String(text) => cut(format!("~ {name}: {text}")),
        other => cut(format!("~ {name}: {other}")),
    };
    let tag = |sign: &'static str| move |tag: &Vec<String>| format!("{sign} {}", cut(tag.join(" ")));
    let mut lines: Vec<String> = changes.fields.iter().map(field).collect();
    if changes.fields.is_empty() && changes.content {
        lines.push("~ the content".into());
    }
    lines.extend(changes.added.iter().map(tag("+")));
    lines.extend(changes.removed.iter().map(tag("-")));
    lines
}
