//! `brotr sync`

use std::time::Duration;

use anyhow::Result;
use brotr_core::{RelayState, RelayUrl};
use brotr_storage::RelayQuery;
use futures::StreamExt;
use serde_json::json;

use super::failure::Failure;
use super::{Done, Shared, output};
use crate::agent::{Agent, now};
use crate::manners;
use crate::services::synchronizer::{self, Pass};
use tokio::time::Instant;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Only these relays, due or not
    #[arg(value_name = "URL")]
    pub(super) urls: Vec<String>,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let agent = shared.agent().await?;
    // An earlier process may have had a clock that was ahead.
    agent.clamp_future(now()).await?;
    let addresses = chosen(&agent, &args.urls).await?;
    let bars = output::bars();
    let bar = bars.add(output::progress(addresses.len() as u64, "synchronizing", output::Unit::Things));
    let began = Instant::now();
    // What a person names is read.
    let is_named = !args.urls.is_empty();
    let mut passes = futures::stream::iter(addresses)
        .map(|address| {
            let (agent, bars, bar) = (agent.clone(), bars.clone(), bar.clone());
            async move {
                if !is_named && manners::objection(&agent, &address, RelayState::New).await?.is_some() {
                    return Ok(None);
                }
                // One line per relay in work, above the total.
                let line = bars.insert_before(&bar, output::spinner(address.as_str().to_owned()));
                let began = Instant::now();
                let progress = |pass: &Pass| {
                    let Pass { transferred, stored, known, .. } = pass;
                    let rate = (stored + known) as f64 / began.elapsed().as_secs_f64().max(0.001);
                    let left = match pass.expected {
                        0 => String::new(),
                        expected => {
                            let fetched = *transferred as f64 / began.elapsed().as_secs_f64().max(0.001);
                            let seconds = (expected as f64 / fetched.max(1.0)).ceil();
                            format!(
                                ", {expected} to fetch, some {}",
                                humantime::format_duration(Duration::from_secs(seconds as u64))
                            )
                        }
                    };
                    line.set_message(format!(
                        "{transferred} transferred, {known} known, {stored} new, {rate:.0} events/s{left}"
                    ));
                };
                let pass = synchronizer::pass(&agent, &address, None, progress).await;
                line.finish_and_clear();
                pass.map(Some)
            }
        })
        .buffer_unordered(agent.config.synchronizer.concurrency);
    let mut total = Pass::default();
    let (mut relays, mut failed) = (0_u64, 0_u64);
    let (interrupt, mut interrupted) = (output::Interrupt::new(), false);
    loop {
        // What a pass has stored and proven so far is committed.
        let pass = tokio::select! {
            pass = passes.next() => pass,
            () = interrupt.wait() => {
                interrupted = true;
                None
            }
        };
        let Some(pass) = pass else { break };
        let pass = pass?;
        bar.inc(1);
        let Some(pass) = pass else { continue };
        relays += 1;
        failed += u64::from(pass.error.is_some());
        total.transferred += pass.transferred;
        total.stored += pass.stored;
        total.known += pass.known;
        total.rejected += pass.rejected;
        total.gaps += pass.gaps;
        total.requests += pass.requests;
        bar.set_message(format!("{} transferred, {} known, {} new", total.transferred, total.known, total.stored));
        if shared.json {
            output::json(&pass)?;
        } else {
            let gaps = if pass.gaps > 0 { format!(", {}", output::counted(pass.gaps, "gap")) } else { String::new() };
            let error = pass.error.map(|e| format!(", {e}")).unwrap_or_default();
            let text = format!("{}: {} new, {} known{gaps}{error}", pass.relay, pass.stored, pass.known);
            bars.suspend(|| output::line(&text))?;
        }
    }
    bar.finish_and_clear();
    if shared.json {
        output::json(&json!({"total": {"relays": relays, "failed": failed, "transferred": total.transferred,
            "stored": total.stored, "known": total.known, "rejected": total.rejected, "gaps": total.gaps,
            "requests": total.requests}}))?;
    } else {
        let [new, known] = [total.stored, total.known].map(output::number);
        let (relays, gaps) = (output::counted(relays, "relay"), output::counted(total.gaps, "gap"));
        let stopped = if interrupted { "interrupted: " } else { "" };
        let rate = output::rate(total.stored + total.known, began.elapsed());
        output::line(&format!("{stopped}{relays}, {failed} failed: {new} new, {known} known, {gaps} {rate}"))?;
    }
    drop(passes);
    shared.close(agent.archive.as_ref()).await;
    Ok(Done::of(!interrupted && (failed == 0 || failed < relays)))
}

async fn chosen(agent: &Agent, urls: &[String]) -> Result<Vec<RelayUrl>> {
    let parse = |url: &str| RelayUrl::parse(url, agent.dialer.guard());
    if !urls.is_empty() {
        let mut addresses = Vec::new();
        for url in urls {
            let address = parse(url).map_err(|e| Failure::usage(format_args!("{url}: {e}")))?;
            agent.archive.add_relays(&[(address.as_str().to_owned(), address.network())], now()).await?;
            addresses.push(address);
        }
        return Ok(addresses);
    }
    let query = RelayQuery {
        networks: agent.dialer.networks(),
        states: vec![RelayState::New, RelayState::Up],
        sync_due: Some(now()),
        limit: i64::MAX,
        ..RelayQuery::default()
    };
    let relays = agent.archive.relays(&query).await?;
    Ok(relays.iter().filter_map(|relay| parse(&relay.url).ok()).collect())
}
