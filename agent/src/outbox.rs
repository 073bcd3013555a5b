//! The outbox: what the agent says goes through the database, so that a restart neither loses nor repeats it.

use std::sync::Arc;

use anyhow::Result;
use brotr_core::RelayUrl;
use brotr_storage::{OutboxStore, Outgoing};
use nostr::{Event, JsonUtil};
use tokio::sync::Notify;

use crate::agent::{Agent, now};

/// Stands for a relay's URL where the relay is this agent's own archive, served by this process.
pub const HERE: &str = "here";

/// Puts events into the outbox.
#[derive(Debug, Clone)]
pub struct Publisher {
    outbox: Arc<dyn OutboxStore>,
    relays: Vec<String>,
    /// Told when there is something to send.
    waiting: Arc<Notify>,
}

impl Publisher {
    /// A publisher to the agent's own relays.
    #[must_use]
    pub fn new(agent: &Agent) -> Self {
        let relays = agent.own_relays().iter().map(|a| a.as_str().to_owned()).collect();
        Self { outbox: agent.archive.clone(), relays, waiting: Arc::default() }
    }

    /// Whether there is anywhere to publish to.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.relays.is_empty()
    }

    /// Queues an event for our own relays.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub async fn publish(&self, event: Event) -> Result<()> {
        self.publish_to(event, &self.relays).await
    }

    /// An event on its way to each of our own relays.
    #[must_use]
    pub fn outgoing(&self, event: &Event) -> Vec<Outgoing> {
        outgoing(event, &self.relays)
    }

    /// Queues an event for these relays.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub async fn publish_to(&self, event: Event, relays: &[String]) -> Result<()> {
        self.queue(&outgoing(&event, relays)).await
    }

    /// Queues what is on its way.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub async fn queue(&self, outgoing: &[Outgoing]) -> Result<()> {
        self.outbox.enqueue(outgoing, now()).await?;
        self.waiting.notify_one();
        Ok(())
    }

    /// Wakes the one who delivers, after something was queued elsewhere.
    pub fn wake(&self) {
        self.waiting.notify_one();
    }

    /// Waits until something is queued.
    pub async fn waits(&self) {
        self.waiting.notified().await;
    }
}

/// An event on its way to each of these relays.
#[must_use]
pub fn outgoing(event: &Event, relays: &[String]) -> Vec<Outgoing> {
    let slot = if event.kind.is_replaceable() {
        Some(event.kind.as_u16().to_string())
    } else if event.kind.is_addressable() {
        Some(format!("{}:{}", event.kind.as_u16(), event.tags.identifier().unwrap_or_default()))
    } else if event.kind == nostr::Kind::EventDeletion {
        // One for each thing that is taken back: what is done for thousands goes at the pace of what they were.
        event.tags.find(nostr::TagKind::a()).and_then(|tag| tag.content()).map(|address| format!("5:{address}"))
    } else {
        None
    };
    let one = |relay: &String| Outgoing {
        event: event.id,
        relay: relay.clone(),
        body: event.as_json(),
        slot: slot.clone(),
        attempts: 0,
        rank: 0,
    };
    relays.iter().map(one).collect()
}

/// Addresses as the archive and the outbox spell them.
#[must_use]
pub fn spelled(addresses: &[RelayUrl]) -> Vec<String> {
    addresses.iter().map(|a| a.as_str().to_owned()).collect()
}
