//! Who the agent is: profile (kind 0), relay list (10002), monitor announcement (10166), handler information (31990).
//! Each is published when it changed, and once a day. What is done with is cleared away on the same rounds.

use anyhow::Result;
use brotr_dvm::Dvm;
use nostr::{Event, EventBuilder, Kind, Tag, TagKind};
use serde_json::json;

use super::{Publisher, nip66, spelled};
use crate::agent::{Agent, now};

const A_DAY: i64 = 86_400;
/// What was sent, and jobs that ended, are forgotten after so many seconds; requests that old are not taken.
const KEPT: i64 = 8 * A_DAY;
/// How often to look whether a day is over.
const LOOK: std::time::Duration = std::time::Duration::from_secs(600);

/// For ever: publishes what changed or is due.
///
/// # Errors
/// When the archive cannot be used.
pub async fn announce(agent: Agent, publisher: Publisher, dvm: std::sync::Arc<Dvm>) -> Result<()> {
    loop {
        if !publisher.is_silent() {
            let relays = spelled(&agent.own_relays());
            for event in about_us(&agent)? {
                publish(&agent, &publisher, event, &relays).await?;
            }
        }
        let jobs = spelled(&agent.job_relays());
        if agent.config.dvm.enabled && !jobs.is_empty() {
            let mut relays = spelled(&agent.own_relays());
            relays.extend(jobs);
            relays.sort_unstable();
            relays.dedup();
            publish(&agent, &publisher, dvm.announcement(&profile(&agent))?, &relays).await?;
        }
        agent.archive.prune(now() - KEPT).await?;
        tokio::time::sleep(LOOK).await;
    }
}

fn profile(agent: &Agent) -> serde_json::Value {
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

fn about_us(agent: &Agent) -> Result<Vec<Event>> {
    let relays = agent.own_relays();
    let list = relays.iter().map(|a| Tag::custom(TagKind::custom("r"), [a.as_str()]));
    let mut events = vec![
        EventBuilder::new(Kind::Metadata, profile(agent).to_string()),
        EventBuilder::new(Kind::RelayList, "").tags(list),
    ];
    if agent.config.monitor.enabled && agent.config.monitor.publish {
        events.push(nip66::announcement(agent));
    }
    Ok(events.into_iter().map(|builder| agent.signer.sign(builder)).collect::<Result<_, _>>()?)
}

/// Publishes an event unless the same was published within a day to the same relays.
async fn publish(agent: &Agent, publisher: &Publisher, event: Event, relays: &[String]) -> Result<()> {
    let kind = event.kind.as_u16().to_string();
    let says =
        json!({"author": event.pubkey, "tags": event.tags, "content": event.content, "relays": relays}).to_string();
    if let Some(last) = agent.archive.state("publish", "announcement", &kind).await?
        && let Ok(last) = serde_json::from_str::<(i64, String)>(&last)
        && last.1 == says
        && last.0 + A_DAY > now()
    {
        return Ok(());
    }
    publisher.publish_to(event, relays).await?;
    agent.archive.set_state("publish", "announcement", &kind, &json!([now(), says]).to_string()).await?;
    Ok(())
}
