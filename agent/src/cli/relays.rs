//! `brotr relays`

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use brotr_core::{Guard, RelayUrl};
use brotr_storage::{Relay, RelayQuery};
use clap::Subcommand;

use super::failure::Failure;
use super::{Access, Done, Shared, output, show};
use crate::initializer::{self, Refused, Sorted};

/// Relays read per query.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add relays
    Add {
        /// Relay URLs, files with one URL per line, or - for stdin
        #[arg(required = true, value_name = "URL|FILE|-")]
        sources: Vec<String>,
    },
    /// List every relay
    List,
    /// Show one relay
    Show {
        /// Its URL
        url: String,
    },
}

pub(super) async fn main(shared: &Shared, command: Command) -> Result<Done> {
    let config = shared.load()?;
    let guard = Guard::new(config.network.allow.clone());
    match command {
        Command::Add { sources } => {
            let mut sorted = Sorted::default();
            for source in sources {
                let part = initializer::sort(&text(&source)?, &guard);
                sorted.addresses.extend(part.addresses);
                sorted.refused.extend(part.refused);
                sorted.malformed.extend(part.malformed);
            }
            let archive = shared.archive(&config, Access::Write).await?;
            let added = initializer::add(archive.as_ref(), sorted).await?;
            archive.close().await;
            if shared.json {
                output::json(&added)?;
            } else {
                output::line(&format!("added      {}", added.added))?;
                output::line(&format!("known      {}", added.known))?;
                output::line(&format!("refused    {}", summary(&added.refused)))?;
                output::line(&format!("malformed  {}", summary(&added.malformed)))?;
            }
            Ok(Done::of(added.added + added.known > 0))
        }
        Command::List => {
            let archive = shared.archive(&config, Access::Read).await?;
            let mut query = RelayQuery { limit: PAGE, ..RelayQuery::default() };
            loop {
                let page = archive.relays(&query).await?;
                for relay in &page {
                    if shared.json { output::json(relay)? } else { output::line(&row(relay))? }
                }
                match page.last() {
                    Some(last) => query.after = Some(last.url.clone()),
                    None => return Ok(Done::Well),
                }
            }
        }
        Command::Show { url } => {
            let address = RelayUrl::parse(&url, &guard);
            let address = address.map_err(|error| Failure::usage(format_args!("{url}: {error}")))?;
            let archive = shared.archive(&config, Access::Read).await?;
            show::show(shared, &config, archive.as_ref(), &address).await?;
            Ok(Done::Well)
        }
    }
}

/// Returns the text of a source: the argument itself if it is a URL.
fn text(source: &str) -> Result<String> {
    if source == "-" {
        let mut text = String::new();
        std::io::stdin().lock().take(16 << 20).read_to_string(&mut text).context("failed to read stdin")?;
        return Ok(text);
    }
    let path = Path::new(source);
    if source.contains("://") && !path.exists() { Ok(source.to_owned()) } else { Ok(initializer::read_file(path)?) }
}

fn row(relay: &Relay) -> String {
    let checked = relay.checked_at.map_or_else(|| "never checked".to_owned(), output::time);
    format!("{:<5} {:<9} {checked:<21} {}", relay.state.as_str(), relay.network.as_str(), relay.url)
}

/// Returns counts by reason, most frequent first, each with an example.
fn summary(list: &[Refused]) -> String {
    let mut reasons = std::collections::BTreeMap::<&str, (usize, &str)>::new();
    for one in list {
        reasons.entry(&one.reason).or_insert((0, &one.input)).0 += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    let mut text = list.len().to_string();
    for (reason, (n, example)) in reasons {
        text.push_str(&format!("\n  {n:>6}  {reason}, such as {example:?}"));
    }
    text
}
