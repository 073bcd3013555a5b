//! The agent's identity: profile (kind 0), relay list (10002), monitor announcement (10166), handler information (31990).
//! Each is published when it changes, and once a day. The same service prunes the outbox and ended jobs.

use std::time::Duration;

use crate::error::Result;
use brotr_core::RelayUrl;
use brotr_dvm::Dvm;
use brotr_storage::Aftermath;
use nostr::{Event, EventBuilder, Kind, Tag, TagKind};
use serde_json::json;

use super::{RelayClient, Stores};
use crate::agent::{Agent, now};
use crate::clock::timestamp;
use crate::manners::CrawlRate;
use crate::outbox::{Publisher, outgoing, spelled};
use crate::state::{Json, State};

const A_DAY: i64 = 86_400;
/// When an event of the agent itself was last published, in unix seconds, and its contents, by kind.
const ANNOUNCED: State<Json<(i64, String)>> = State::new("publish", "announcement");
/// Seconds for which delivered events and ended jobs are kept; older requests are not accepted.
const KEPT: i64 = 8 * A_DAY;
/// How often to check whether a day has passed.
const LOOK: Duration = Duration::from_secs(600);
/// Seconds for which a heartbeat is valid, and the jitter of its interval as a share.
const BEAT_LASTS: u64 = 300;
const BEAT_JITTER: f64 = 0.1;
/// How long withdrawing the announcement may delay shutdown.
const PARTING: Duration = Duration::from_secs(3);

/// Publishes the agent's profile, relay list and announcements when they change and once a day. `monitor` makes the
/// announcement of the monitor (kind 10166). Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn announce<A: Stores + ?Sized>(
    agent: Agent<A>,
    publisher: Publisher,
    dvm: std::sync::Arc<Dvm>,
    monitor: fn(&Agent<A>) -> EventBuilder,
) -> Result<()> {
    loop {
        let relays = relays(&agent);
        for event in about_us(&agent, monitor)? {
            publish(&agent, &publisher, event, &relays).await?;
        }
        if agent.config.dvm.enabled && !agent.job_relays().is_empty() {
            publish(&agent, &publisher, dvm.announcement(&profile(&agent))?, &relays).await?;
        }
        agent.archive.prune(now() - KEPT).await?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns the relays on which the agent is announced: its own, and those on which jobs are requested.
fn relays(agent: &Agent<impl Stores + ?Sized>) -> Vec<String> {
    let mut relays = spelled(&agent.own_relays());
    if agent.config.dvm.enabled {
        relays.extend(spelled(&agent.job_relays()));
    }
    relays.sort_unstable();
    relays.dedup();
    relays
}

/// Publishes a heartbeat about every `every` to the relays of the announcement, while `serves` returns true. Runs until it
/// fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn beat(
    agent: Agent<impl Stores + ?Sized>,
    publisher: Publisher,
    dvm: std::sync::Arc<Dvm>,
    every: Duration,
    serves: impl Fn() -> bool,
) -> Result<()> {
    loop {
        // Jitter, so that agents started together do not send together.
        let wait = every.mul_f64(1.0 - BEAT_JITTER + 2.0 * BEAT_JITTER * fastrand::f64());
        if serves() {
            let event = dvm.heartbeat(BEAT_LASTS.max(wait.as_secs() * 5 / 4))?;
            publisher.publish_to(event, &relays(&agent)).await?;
        }
        tokio::time::sleep(wait).await;
    }
}

/// Withdraws the announcement of jobs from those of its relays that can be reached at once. The next start announces again.
///
/// # Errors
/// Fails if the event cannot be signed, or the archive cannot be used.
pub async fn withdraw(agent: &Agent<impl Stores + ?Sized>, client: &RelayClient, dvm: &Dvm) -> Result<()> {
    let event = dvm.withdrawal()?;
    ANNOUNCED.clear(agent.archive.as_ref(), "31990").await?;
    let relays = relays(agent);
    let guard = agent.dialer.guard();
    let deliveries = relays.iter().filter_map(|url| RelayUrl::parse(url, guard).ok()).map(async |relay| {
        let delivery = tokio::time::timeout(PARTING, client.send(&event, &relay, 0)).await;
        let why = match delivery {
            Ok(brotr_storage::Delivery::Accepted) => return,
            Ok(refused) => format!("{refused:?}"),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(relay = relay.as_str(), why, "failed to take the announcement of jobs back");
    });
    futures::future::join_all(deliveries).await;
    Ok(())
}

fn profile(agent: &Agent<impl Stores + ?Sized>) -> serde_json::Value {
    let identity = &agent.config.identity;
    let mut profile = json!({
        "name": identity.name.as_deref().unwrap_or("Brotr"),
        "about": identity.about.as_deref().unwrap_or("A Nostr agent that monitors and archives relays."),
    });
    if let Some(picture) = &identity.picture {
        profile["picture"] = json!(picture);
    }
    profile
}

fn about_us<A: Stores + ?Sized>(agent: &Agent<A>, monitor: fn(&Agent<A>) -> EventBuilder) -> Result<Vec<Event>> {
    let relays = agent.own_relays();
    let tag = |values: &[&str]| Tag::custom(TagKind::custom("r"), values.iter().copied());
    let inbox = if agent.config.dvm.enabled { agent.job_relays() } else { vec![] };
    let inbox = inbox.iter().filter(|a| !relays.contains(a)).map(|a| tag(&[a.as_str(), "read"]));
    let list = relays.iter().map(|a| tag(&[a.as_str()])).chain(inbox);
    // A field of our own: operators of relays find it by the key in the User-Agent.
    let mut profile = profile(agent);
    profile["crawl"] = json!(CrawlRate::of(&agent.config));
    let mut events =
        vec![EventBuilder::new(Kind::Metadata, profile.to_string()), EventBuilder::new(Kind::RelayList, "").tags(list)];
    if !relays.is_empty() && agent.config.monitor.enabled && agent.config.monitor.publish {
        events.push(monitor(agent));
    }
    Ok(events
        .into_iter()
        .map(|builder| agent.signer.sign(builder.custom_created_at(timestamp())))
        .collect::<Result<_, _>>()?)
}

/// Publishes an event, unless the same one was published to the same relays within a day.
async fn publish(
    agent: &Agent<impl Stores + ?Sized>,
    publisher: &Publisher,
    event: Event,
    relays: &[String],
) -> Result<()> {
    let kind = event.kind.as_u16().to_string();
    let content =
        json!({"author": event.pubkey, "tags": event.tags, "content": event.content, "relays": relays}).to_string();
    if let Some(Json((at, published))) = ANNOUNCED.get(agent.archive.as_ref(), &kind).await?
        && published == content
        && at + A_DAY > now()
    {
        return Ok(());
    }
    let state = ANNOUNCED.entry(&kind, &Json((now(), content)));
    let aftermath = Aftermath { outgoing: outgoing(&event, relays), states: vec![state] };
    agent.archive.enqueue_with_state(&aftermath, now()).await?;
    publisher.wake();
    Ok(())
}
