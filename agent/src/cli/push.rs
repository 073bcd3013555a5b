//! `brotr push`: sends a relay the archived events that it lacks.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use brotr_core::{RelayUrl, sanitize};
use brotr_keys::Signer;
use brotr_storage::{NostrArchive, View};
use nostr::{EventId, Filter, RelayMessage, Timestamp};
use nostr_sdk::pool::relay::{RelayNotification, SyncProgress};
use nostr_sdk::{Relay, SyncDirection, SyncOptions};
use serde_json::json;
use tokio::time::Instant;

use super::failure::Failure;
use super::query::parse;
use super::{Access, Done, Shared, output};
use crate::agent::{self, now};
use crate::client::client_of;

/// The most events that are compared with a relay: their ids take some 100 MB.
const MAX_COMPARED: u64 = 1_000_000;
/// Time limit of the first answer: a relay without NIP-77 may ignore the question.
const FIRST: Duration = Duration::from_secs(10);
/// Time limit of each further step.
const STALLED: Duration = Duration::from_secs(30);
/// The most reasons for refusals that are shown.
const MAX_REASONS: usize = 20;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The relay; it must support NIP-77
    #[arg(value_name = "URL")]
    relay: String,
    /// A NIP-01 filter, such as '{"authors":["..."]}'; without one, all events that clients see
    filter: Option<String>,
    /// Send nothing, only count what the relay lacks
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let filter = parse(args.filter.as_deref())?;
    if filter.limit.is_some() || filter.search.is_some() {
        return Err(Failure::usage("push compares whole sets: leave limit and search out of the filter").into());
    }
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let signer = agent::load_key(&config)?.unwrap_or_else(Signer::throwaway);
    let dialer = agent::dialer(&config, &signer)?;
    let address = RelayUrl::parse(&args.relay, dialer.guard())
        .map_err(|error| Failure::usage(format_args!("{}: {error}", args.relay)))?;
    let view = View::Client { now: now() };
    let held = archive.count(std::slice::from_ref(&filter), view, &[]).await?;
    if held > MAX_COMPARED {
        bail!(
            "the filter matches {held} events, and at most {MAX_COMPARED} are compared: narrow it, by since and until"
        );
    }
    // An archive without contents says so now, not at each event.
    archive.page(&filter, view, None, 1).await?;
    let client = client_of(NostrArchive::new(archive, view), signer, &dialer);
    let items = client.database().negentropy_items(filter.clone()).await?;
    client.add_relay(address.as_str()).await?;
    let relay = client.relay(address.as_str()).await?;
    let connected = relay.try_connect(dialer.limits(address.network()).connect_timeout).await;
    connected.map_err(|error| anyhow::anyhow!("{}", sanitize(&error.to_string()))).context("failed to connect")?;
    let pushed = push(&relay, filter, items, args.dry_run).await;
    client.shutdown().await;
    let pushed = pushed?;
    let done = args.dry_run || pushed.sent == pushed.missing;
    if shared.json {
        output::json(&json!({"relay": address.as_str(), "held": held, "missing": pushed.missing, "sent": pushed.sent,
            "refused": pushed.refused}))?;
        return Ok(Done::of(done));
    }
    let action = if args.dry_run { "none sent".to_owned() } else { format!("{} sent", pushed.sent) };
    output::line(&format!("{address}: lacks {} of {held} events, {action}", pushed.missing))?;
    for (reason, count) in &pushed.refused {
        output::line(&format!("  {} refused: {reason}", output::counted(*count, "event")))?;
    }
    let tried = pushed.sent + pushed.refused.values().sum::<u64>();
    if !args.dry_run && tried < pushed.missing {
        let left = output::counted(pushed.missing - tried, "event");
        output::line(&format!(
            "  {left} not sent: removed meanwhile, or with an empty tag, which this command cannot send"
        ))?;
    }
    Ok(Done::of(done))
}

/// What a relay lacked, and what became of it.
struct Pushed {
    missing: u64,
    sent: u64,
    /// Refused events by reason.
    refused: BTreeMap<String, u64>,
}

/// Compares the events of a filter, given by id and date, with the relay's (NIP-77), and sends those that it lacks.
async fn push(relay: &Relay, filter: Filter, items: Vec<(EventId, Timestamp)>, is_dry: bool) -> Result<Pushed> {
    let (progress, mut steps) = SyncProgress::channel();
    let mut options = SyncOptions::new().direction(SyncDirection::Up).initial_timeout(FIRST).progress(progress);
    if is_dry {
        options = options.dry_run();
    }
    let bar = output::progress(0, "sending", output::Unit::Things);
    let mut answers = relay.notifications();
    // Each event is accepted or refused once: a relay cannot delay the end by answering for ever.
    let mut unanswered = items.len();
    let mut synced = std::pin::pin!(relay.sync_with_items(filter, items, &options));
    // The library waits for each answer without a limit, and reports no progress between the events that it sends at once.
    let mut deadline = Instant::now() + STALLED;
    let done = loop {
        tokio::select! {
            done = &mut synced => break done,
            step = steps.changed() => match step {
                Ok(()) => {
                    let SyncProgress { total, current } = *steps.borrow_and_update();
                    bar.set_length(total);
                    bar.set_position(current);
                    deadline = Instant::now() + STALLED;
                }
                Err(_) => break synced.await,
            },
            answer = answers.recv() => {
                let is_ok = matches!(answer, Ok(RelayNotification::Message { message: RelayMessage::Ok { .. } }));
                if is_ok && unanswered > 0 {
                    unanswered -= 1;
                    deadline = Instant::now() + STALLED;
                }
            }
            () = tokio::time::sleep_until(deadline) => {
                bail!("the relay did not answer for {} s; what it took so far it has", STALLED.as_secs())
            }
        }
    };
    bar.finish_and_clear();
    let done = done.map_err(|error| anyhow::anyhow!("{}", sanitize(&error.to_string())));
    let done = done.context("failed to compare events with the relay (NIP-77)")?;
    let mut refused = BTreeMap::new();
    for reason in done.send_failures.values().flat_map(|of_relay| of_relay.values()) {
        let reason = sanitize(reason);
        let known = refused.contains_key(&reason) || refused.len() < MAX_REASONS;
        *refused.entry(if known { reason } else { "other reasons".to_owned() }).or_default() += 1;
    }
    Ok(Pushed { missing: done.local.len() as u64, sent: done.sent.len() as u64, refused })
}
