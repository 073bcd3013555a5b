//! `brotr query`

use anyhow::Result;
use brotr_core::Event;
use brotr_storage::{Archive, Cursor, View};
use nostr::Filter;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Access, Done, Shared, count, output};
use crate::agent::now;

/// Events read per query.
pub(super) const PAGE: usize = 200;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// A NIP-01 filter, such as '{"kinds":[1],"limit":10}'; without one, all events
    filter: Option<String>,
    /// Print only the number of events
    #[arg(long)]
    count: bool,
    /// Ask this relay for the number instead of the archive (NIP-45); repeat it for several relays. For reactions, reposts,
    /// quotes, replies, comments and followers, relays may say about how many authors there are, one by one and together
    #[arg(long, value_name = "URL", requires = "count", conflicts_with_all = ["seen", "all"])]
    relay: Vec<String>,
    /// Print with each event the relays that hold it
    #[arg(long)]
    seen: bool,
    /// Include events that a relay does not serve: replaced, deleted, expired, vanished, ephemeral and protected ones
    #[arg(long)]
    all: bool,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let filter = parse(args.filter.as_deref())?;
    let config = shared.load()?;
    if !args.relay.is_empty() {
        return count::on_relays(shared, &config, &filter, &args.relay).await;
    }
    let archive = shared.archive(&config, Access::Read).await?;
    let view = if args.all { View::All } else { View::Client { now: now() } };
    if args.count {
        let count = archive.count(&[filter], view, &[]).await?;
        if shared.json {
            output::json(&json!({"count": count}))?
        } else {
            output::line(&count.to_string())?
        }
        return Ok(Done::Well);
    }
    let mut pages = Pages::new(archive.as_ref(), filter, view);
    while let Some(page) = pages.next().await? {
        let ids: Vec<_> = page.iter().map(|event| event.id).collect();
        let mut holders = if args.seen { archive.holders(&ids).await? } else { Default::default() };
        for event in page {
            if args.seen {
                let relays = holders.remove(&event.id).unwrap_or_default();
                output::json(&json!({"event": event, "relays": relays}))?;
            } else {
                output::line(&event.to_json())?;
            }
        }
    }
    Ok(Done::Well)
}

/// Parses a filter from the command line.
pub(super) fn parse(text: Option<&str>) -> Result<Filter> {
    let Some(text) = text else { return Ok(Filter::new()) };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Failure::usage(format_args!("the filter {text:?} is not JSON: {error}")))?;
    Ok(brotr_core::parse_filter(&value).map_err(Failure::usage)?)
}

/// Iterates over the events that match a filter, up to its limit.
pub(super) struct Pages<'a> {
    archive: &'a dyn Archive,
    filter: Filter,
    view: View,
    after: Option<Cursor>,
    left: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn new(archive: &'a dyn Archive, filter: Filter, view: View) -> Self {
        let left = filter.limit.unwrap_or(usize::MAX);
        Self { archive, filter, view, after: None, left }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<Event>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let page = self.archive.page(&self.filter, self.view, self.after, PAGE.min(self.left)).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(Cursor { created_at: last.created_at, id: last.id });
        self.left -= page.len();
        Ok(Some(page))
    }
}
