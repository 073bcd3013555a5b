//! `brotr relays`

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use brotr_core::{Guard, RelayUrl};
use clap::Subcommand;

use super::failure::Failure;
use super::remote::Remote;
use super::{Access, Done, Shared, authors, list, output, show};
use crate::initializer::{self, Refused};

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Add relays
    Add {
        /// Relay URLs, files with one URL per line, or - for stdin
        #[arg(required = true, value_name = "URL|FILE|-")]
        sources: Vec<String>,
    },
    /// List relays
    List(list::Args),
    /// Find the relays that give most of the events of authors, by where the events were seen
    For(authors::RelaysArgs),
    /// Show one relay: what it says, what was found, its past, and what is archived of it
    Show {
        /// Its URL
        url: String,
        /// Print its documents as well: NIP-11 as received, and what the last check found
        #[arg(long)]
        documents: bool,
    },
}

pub(super) async fn main(shared: &Shared, command: Command) -> Result<Done> {
    let config = shared.load()?;
    let guard = Guard::new(config.network.allow.clone());
    match command {
        Command::Add { sources } => {
            // First: stdin can be read once, and another process may hold the archive.
            let archive = shared.archive(&config, Access::Write).await?;
            let sorted = initializer::sort(&read(sources).await?, &guard);
            let added = initializer::add(archive.as_ref(), sorted).await?;
            shared.close(archive.as_ref()).await;
            if shared.json {
                output::json(&added)?;
            } else {
                output::line(&format!("added      {}", output::number(added.added as u64)))?;
                output::line(&format!("known      {}", output::number(added.known as u64)))?;
                output::line(&format!("refused    {}", summary(&added.refused)))?;
                output::line(&format!("malformed  {}", summary(&added.malformed)))?;
            }
            Ok(Done::of(added.added + added.known > 0))
        }
        Command::List(args) => {
            let archive = shared.archive(&config, Access::Read).await?;
            list::list(shared.json, archive.as_ref(), args).await?;
            Ok(Done::Well)
        }
        Command::For(args) => authors::relays(shared, &config, args).await,
        Command::Show { url, documents } => {
            let address = RelayUrl::parse(&url, &guard);
            let address = address.map_err(|error| Failure::usage(format_args!("{url}: {error}")))?;
            let archive = shared.archive(&config, Access::Read).await?;
            show::show(shared, &config, archive.as_ref(), &address, documents).await?;
            Ok(Done::Well)
        }
    }
}

/// Returns the text of all sources, a URL on a line.
pub(super) async fn read(sources: Vec<String>) -> Result<String> {
    let stdin: Box<dyn Read + Send> = match Remote::current() {
        Some(remote) => remote.input(),
        None => Box::new(std::io::stdin()),
    };
    let read = move || {
        let mut stdin = stdin.take(16 << 20);
        let texts = sources.iter().map(|source| text(source, &mut stdin)).collect::<Result<Vec<_>>>();
        anyhow::Ok(texts?.join("\n"))
    };
    tokio::task::spawn_blocking(read).await?
}

/// Returns the text of a source: the argument itself if it is a URL.
fn text(source: &str, stdin: &mut impl Read) -> Result<String> {
    if source == "-" {
        let mut text = String::new();
        stdin.read_to_string(&mut text).context("failed to read stdin")?;
        return Ok(text);
    }
    let path = Path::new(source);
    if source.contains("://") && !path.exists() { Ok(source.to_owned()) } else { Ok(initializer::read_file(path)?) }
}

/// Returns counts by reason, most frequent first, each with an example.
fn summary(list: &[Refused]) -> String {
    let mut reasons = std::collections::BTreeMap::<&str, (usize, &str)>::new();
    for one in list {
        reasons.entry(&one.reason).or_insert((0, &one.input)).0 += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    let mut text = output::number(list.len() as u64);
    for (reason, (n, example)) in reasons {
        text.push_str(&format!("\n  {n:>6}  {reason}, such as {example:?}"));
    }
    text
}
