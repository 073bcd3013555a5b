//! The outbox: events to publish are stored in the database, so that a restart neither loses nor repeats them.

use std::sync::Arc;

use crate::error::Result;
use brotr_core::RelayUrl;
use brotr_storage::{OutboxStore, Outgoing};
use nostr::{Event, JsonUtil};
use tokio::sync::Notify;

use crate::agent::{Agent, now};

/// Stands for a relay's URL where the destination is the agent's own archive.
pub const HERE: &str = "here";

/// Adds events to the outbox.
#[derive(Debug, Clone)]
pub struct Publisher {
    outbox: Arc<dyn OutboxStore>,
    relays: Vec<String>,
    /// Notified when there is something to send.
    waiting: Arc<Notify>,
}

impl Publisher {
    /// Returns a publisher to the agent's own relays.
    #[must_use]
    pub fn new(agent: &Agent) -> Self {
        let relays = agent.own_relays().iter().map(|a| a.as_str().to_owned()).collect();
        Self { outbox: agent.archive.clone(), relays, waiting: Arc::default() }
    }

    /// Returns true if there is no relay to publish to.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.relays.is_empty()
    }

    /// Queues an event for the agent's own relays.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn publish(&self, event: Event) -> Result<()> {
        self.publish_to(event, &self.relays).await
    }

    /// Returns one outbox entry for each of the agent's own relays.
    #[must_use]
    pub fn outgoing(&self, event: &Event) -> Vec<Outgoing> {
        outgoing(event, &self.relays)
    }

    /// Queues an event for these relays.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn publish_to(&self, event: Event, relays: &[String]) -> Result<()> {
        self.queue(&outgoing(&event, relays)).await
    }

    /// Queues outbox entries.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn queue(&self, outgoing: &[Outgoing]) -> Result<()> {
        self.outbox.enqueue(outgoing, now()).await?;
        self.waiting.notify_one();
        Ok(())
    }

    /// Wakes the delivery service, after entries were queued elsewhere.
    pub fn wake(&self) {
        self.waiting.notify_one();
    }

    /// Waits until something is queued.
    pub async fn waits(&self) {
        self.waiting.notified().await;
    }
}

/// Returns one outbox entry for each of these relays.
#[must_use]
pub fn outgoing(event: &Event, relays: &[String]) -> Vec<Outgoing> {
    let slot = if event.kind.is_replaceable() {
        Some(event.kind.as_u16().to_string())
    } else if event.kind.is_addressable() {
        Some(format!("{}:{}", event.kind.as_u16(), event.tags.identifier().unwrap_or_default()))
    } else if event.kind == nostr::Kind::EventDeletion {
        // One entry per withdrawn event: withdrawals of thousands of events are paced like the events were.
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

/// Returns URLs as the archive and the outbox store them.
#[must_use]
pub fn spelled(addresses: &[RelayUrl]) -> Vec<String> {
    addresses.iter().map(|a| a.as_str().to_owned()).collect()
}
