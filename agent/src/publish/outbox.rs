//! Sending what is queued, with backoff, and keeping what relays said to it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use brotr_storage::{Delivery, Outgoing};
use futures::StreamExt;
use nostr::{Event, JsonUtil};

use super::{Publisher, Voice};
use crate::agent::{Agent, now};
use crate::happening::Happening;
use crate::net::Address;

/// Looked at so many at a time,
const PAGE: i64 = 200;
/// to so many relays at a time,
const RELAYS: usize = 8;
/// and at least so often, for what was delayed.
const LOOK: Duration = Duration::from_secs(5);

/// For ever: sends what is due.
///
/// # Errors
/// When the archive cannot be used.
pub async fn deliver(agent: Agent, publisher: Publisher, voice: Voice) -> Result<()> {
    loop {
        let due = agent.archive.due_outgoing(now(), PAGE).await?;
        if due.is_empty() {
            let _ = tokio::time::timeout(LOOK, publisher.waits()).await;
            continue;
        }
        // In order to each relay; relays beside each other, so that a slow one holds up nobody.
        let mut relays = BTreeMap::<String, Vec<Outgoing>>::new();
        for one in due {
            relays.entry(one.relay.clone()).or_default().push(one);
        }
        let sending = relays.into_values().map(|list| {
            let (agent, voice) = (&agent, &voice);
            async move {
                for one in list {
                    let delivery = send(agent, voice, &one).await;
                    Happening::Delivered { relay: &one.relay, delivery: &delivery }.tell();
                    let delayed = matches!(delivery, Delivery::Delayed { .. });
                    agent.archive.delivered(&one, &delivery, now()).await?;
                    if delayed {
                        // Whatever holds it up holds up what follows; it is due again soon.
                        break;
                    }
                }
                anyhow::Ok(())
            }
        });
        let ended: Vec<Result<()>> = futures::stream::iter(sending).buffer_unordered(RELAYS).collect().await;
        ended.into_iter().collect::<Result<()>>()?;
    }
}

async fn send(agent: &Agent, voice: &Voice, one: &Outgoing) -> Delivery {
    let address = match Address::parse(&one.relay, agent.dialer.guard()) {
        Ok(address) => address,
        Err(error) => return Delivery::Refused(error.to_string()),
    };
    match Event::from_json(&one.body) {
        Ok(event) => voice.say(&event, &address, one.attempts).await,
        Err(error) => Delivery::Refused(format!("the stored event is damaged: {error}")),
    }
}
