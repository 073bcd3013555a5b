//! `brotr monitor`

use anyhow::Result;
use brotr_core::{RelayState, RelayUrl};
use brotr_storage::{Relay, RelayQuery};
use futures::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use super::failure::Failure;
use super::remote::Remote;
use super::{Done, Shared, output};
use crate::agent::{Agent, now};
use crate::outbox::Publisher;
use crate::pulse::Pulse;
use crate::services::monitor::Monitor;
use crate::services::publisher::{RelayClient, deliver};
use crate::state::OPTED_OUT;

/// How long the command goes on sending results before it exits; the daemon sends the rest.
const SENDING: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Only these relays, due or not
    #[arg(value_name = "URL")]
    pub(super) urls: Vec<String>,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let agent = shared.agent().await?;
    let publisher = Publisher::new(&agent);
    let monitor = Monitor::new(&agent, &publisher).await?;
    let relays = chosen(&agent, &args.urls).await?;
    let bar = output::progress(relays.len() as u64, "checking", output::Unit::Things);
    let mut visits = futures::stream::iter(relays)
        .map(|relay| {
            let monitor = monitor.clone();
            async move { monitor.visit(&relay).await.map(|health| (relay.url, health)) }
        })
        .buffer_unordered(agent.config.monitor.concurrency);
    let (mut checked, mut up) = (0_u64, 0_u64);
    let (began, interrupt, mut interrupted) = (Instant::now(), output::Interrupt::new(), false);
    loop {
        let health = tokio::select! {
            health = visits.next() => health,
            () = interrupt.wait() => {
                interrupted = true;
                None
            }
        };
        let Some(health) = health else { break };
        bar.inc(1);
        let (url, health) = health?;
        let Some(health) = health else {
            let objection = OPTED_OUT.get(agent.archive.as_ref(), &url).await?;
            let reason = objection.map(|objection| objection.reason()).unwrap_or_default();
            bar.suspend(|| output::note(&format!("left alone  {url}  {reason}")))?;
            continue;
        };
        if !health.is_ours {
            checked += 1;
            up += u64::from(health.up);
        }
        if shared.json {
            output::json(&health.to_json())?;
        } else {
            let state = match health.up {
                true => "up",
                false if health.is_ours => "?",
                false => "down",
            };
            let text = format!("{state:<5} {}  {}", health.url, health.reason().unwrap_or_default());
            bar.suspend(|| output::line(text.trim_end()))?;
        }
    }
    drop(visits);
    bar.finish_and_clear();
    monitor.warm_up().await?;
    // The daemon sends by itself.
    if !publisher.is_silent() && !interrupted && Remote::current().is_none() {
        let client = RelayClient::new(&agent);
        let until_empty = async {
            while !agent.archive.due_relays(now()).await?.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = deliver(agent.clone(), publisher.clone(), client.clone(), Pulse::default()) => ended?,
            ended = until_empty => ended?,
            () = tokio::time::sleep(SENDING) => {}
        }
        client.shutdown().await;
    }
    if shared.json {
        output::json(&json!({"total": {"checked": checked, "up": up, "down": checked - up}}))?;
    } else {
        let stopped = if interrupted { "interrupted: " } else { "" };
        let (relays, rate) = (output::counted(checked, "relay"), output::rate(checked, began.elapsed()));
        output::line(&format!("{stopped}{relays} checked, {} up {rate}", output::number(up)))?;
    }
    shared.close(agent.archive.as_ref()).await;
    Ok(Done::of(!interrupted))
}

async fn chosen(agent: &Agent, urls: &[String]) -> Result<Vec<Relay>> {
    let mut relays = Vec::new();
    for url in urls {
        let address = RelayUrl::parse(url, agent.dialer.guard());
        let address = address.map_err(|e| Failure::usage(format_args!("{url}: {e}")))?;
        // It may have changed since it was read.
        agent.robots.forget(&address);
        relays.push(agent.archive.relay(address.as_str()).await?.unwrap_or_else(|| Relay {
            url: address.as_str().to_owned(),
            network: address.network(),
            state: RelayState::New,
            discovered_at: now(),
            checked_at: None,
            failures: 0,
            events: 0,
        }));
    }
    if !urls.is_empty() {
        return Ok(relays);
    }
    // In one query: with a due time there is no next page, and ten thousand relays take a few megabytes.
    let query = RelayQuery {
        networks: agent.dialer.networks(),
        check_due: Some(now()),
        limit: i64::MAX,
        ..RelayQuery::default()
    };
    Ok(agent.archive.relays(&query).await?)
}
