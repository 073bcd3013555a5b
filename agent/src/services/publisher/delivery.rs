//! Sends queued events, with backoff, and records the relays' answers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::error::Result;
use brotr_core::RelayUrl;
use brotr_storage::{Batch, Delivery, Lane, Outgoing};
use futures::StreamExt;
use nostr::{Event, JsonUtil};
use tokio::task::JoinSet;

use super::{RelayClient, Stores};
use crate::agent::{Agent, now};
use crate::outbox::{HERE, Publisher};
use crate::pulse::Pulse;
use crate::telemetry::{EventAccepted, EventDelayed, EventRefused, Telemetry};

/// Events sent per page to one relay,
const PAGE: i64 = 50;
/// relays sent to concurrently, and how many of them may be strangers',
const RELAYS: usize = 16;
const GUESTS: usize = 8;
/// and how often the outbox is read for delayed events.
const LOOK: Duration = Duration::from_secs(2);
/// The shortest interval between versions of replaceable events to one relay, except for the first of each page: thousands are
/// due after a sweep, and relays limit rates.
const PACE: Duration = Duration::from_millis(125);
const AT_ONCE: usize = 1;
/// Answers sent before the first of them has its OK.
const ANSWERS: usize = 10;

/// Sends events that are due. Each relay has one task per lane, so that a slow relay delays no other. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn deliver(
    agent: Agent<impl Stores + ?Sized>,
    publisher: Publisher,
    client: RelayClient,
    pulse: Pulse,
) -> Result<()> {
    pulse.reset();
    let mut sending: JoinSet<((String, Lane), Result<()>)> = JoinSet::new();
    let mut busy = HashSet::new();
    let own: HashSet<String> = agent
        .own_relays()
        .iter()
        .chain(&agent.job_relays())
        .map(|a| a.as_str().to_owned())
        .chain([HERE.to_owned()])
        .collect();
    loop {
        let (ours, guests): (Vec<_>, Vec<_>) =
            agent.archive.due_relays(now()).await?.into_iter().partition(|(relay, _)| own.contains(relay));
        for (place, lanes) in ours.into_iter().map(|p| (p, RELAYS)).chain(guests.into_iter().map(|p| (p, GUESTS))) {
            if busy.len() < lanes && busy.insert(place.clone()) {
                let (agent, client) = (agent.clone(), client.clone());
                pulse.begin();
                sending.spawn(async move {
                    let ended = to_relay(&agent, &client, &place.0, place.1).await;
                    (place, ended)
                });
            }
        }
        tokio::select! {
            Some(ended) = sending.join_next() => {
                pulse.end();
                let (place, ended) = ended?;
                busy.remove(&place);
                // Results that were not recorded are sent again, which relays accept.
                if let Err(error) = ended {
                    tracing::warn!(%error, relay = place.0, "failed to deliver to a relay, trying again");
                    tokio::time::sleep(LOOK).await;
                }
            }
            () = publisher.waits() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn to_relay(agent: &Agent<impl Stores + ?Sized>, client: &RelayClient, relay: &str, lane: Lane) -> Result<()> {
    if relay == HERE {
        return archive(agent, lane).await;
    }
    let due = agent.archive.due_outgoing(relay, lane, now(), PAGE).await?;
    let at_once = if lane == Lane::Versions { 1 } else { ANSWERS };
    let sending = futures::stream::iter(by_job(due).into_iter().enumerate()).map(async |(n, of_one)| {
        if lane == Lane::Versions && n >= AT_ONCE {
            tokio::time::sleep(PACE).await;
        }
        let mut ended = Vec::with_capacity(of_one.len());
        for one in of_one {
            let delivery = send(agent, client, &one).await;
            ended.push((one, delivery));
        }
        ended
    });
    // Each result is recorded at once, though others of the same page are pending.
    let mut sent = std::pin::pin!(sending.buffer_unordered(at_once).ready_chunks(at_once));
    while let Some(ended) = sent.next().await {
        let ended = ended.concat();
        for (_, delivery) in &ended {
            record(relay, delivery);
        }
        agent.archive.delivered(&ended, now()).await?;
        if ended.iter().any(|(_, delivery)| matches!(delivery, Delivery::Delayed { .. })) {
            break;
        }
    }
    Ok(())
}

fn record(relay: &str, delivery: &Delivery) {
    match delivery {
        Delivery::Accepted => EventAccepted { relay }.emit(),
        Delivery::Refused(reason) => EventRefused { relay, reason }.emit(),
        Delivery::Postponed { reason, due_at } | Delivery::Delayed { reason, due_at } => {
            EventDelayed { relay, reason, due_at: *due_at }.emit();
        }
    }
}

/// Groups entries by job, in order: a customer is not told of the end before the beginning.
fn by_job(due: Vec<Outgoing>) -> Vec<Vec<Outgoing>> {
    let mut groups: Vec<Vec<Outgoing>> = Vec::new();
    let mut places = HashMap::new();
    for one in due {
        let job = Event::from_json(&one.body).ok().and_then(|event| event.tags.event_ids().next().copied());
        let place = *places.entry(job.unwrap_or(one.event)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// Archives events for clients of the agent's own relay, all that wait in one batch.
async fn archive(agent: &Agent<impl Stores + ?Sized>, lane: Lane) -> Result<()> {
    let due = agent.archive.due_outgoing(HERE, lane, now(), PAGE).await?;
    let (mut events, mut deliveries) = (Vec::new(), Vec::new());
    for one in &due {
        let event = brotr_core::Event::from_json(&one.body).ok().and_then(|event| event.verify().ok());
        deliveries.push(match event {
            Some(event) => {
                events.push(event);
                Delivery::Accepted
            }
            None => Delivery::Refused("the stored event is damaged".into()),
        });
    }
    agent.archive.store(Batch { events, ..Batch::default() }).await?;
    for delivery in &deliveries {
        record(HERE, delivery);
    }
    let ended: Vec<_> = due.into_iter().zip(deliveries).collect();
    agent.archive.delivered(&ended, now()).await.map_err(Into::into)
}

async fn send(agent: &Agent<impl Stores + ?Sized>, client: &RelayClient, one: &Outgoing) -> Delivery {
    let address = match RelayUrl::parse(&one.relay, agent.dialer.guard()) {
        Ok(address) => address,
        Err(error) => return Delivery::Refused(error.to_string()),
    };
    match Event::from_json(&one.body) {
        Ok(event) => client.send(&event, &address, one.attempts).await,
        Err(error) => Delivery::Refused(format!("the stored event is damaged: {error}")),
    }
}
