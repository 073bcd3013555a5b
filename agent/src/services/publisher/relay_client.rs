//! The agent's own connections, through rust-nostr's client, which handles NIP-42, reconnects and subscriptions. All dials
//! pass our guard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brotr_core::{RelayUrl, sanitize};
use brotr_net::Dialer;
use brotr_storage::Delivery;
use nostr::Event;
use nostr_sdk::{Client, RelayStatus};

use super::Stores;
use crate::agent::{Agent, now};
use crate::client::own_client;
use tokio::time::Instant;

/// Tries after which an event is given up: to a relay that cannot be reached,
const TRIES: i64 = 12;
/// and to one that can be reached and does not accept it.
const DISLIKED: i64 = 5;
/// The longest backoff between two tries, in seconds.
const LONGEST_WAIT: i64 = 3_600;
/// A relay that is not the operator's is disconnected when nothing was sent to it for this long.
const GUEST_STAYS: Duration = Duration::from_secs(120);

/// Why an event was not accepted.
enum Trouble {
    /// The relay does not accept this event, or does not answer.
    OfEvent(String),
    /// The relay cannot be reached, or accepts nothing from us for now.
    OfRelay(String),
}

/// The client that sends the agent's events.
#[derive(Debug, Clone)]
pub struct RelayClient {
    client: Client,
    dialer: Arc<Dialer>,
    own: Vec<nostr::RelayUrl>,
    guests: Arc<Mutex<HashMap<nostr::RelayUrl, Instant>>>,
}

impl RelayClient {
    /// Returns a client with the agent's key.
    #[must_use]
    pub fn new(agent: &Agent<impl Stores + ?Sized>) -> Self {
        let client = own_client(agent.signer.clone(), &agent.dialer);
        let own = agent.own_relays().into_iter().chain(agent.job_relays());
        let own = own.filter_map(|a| nostr::RelayUrl::parse(a.as_str()).ok()).collect();
        Self { client, dialer: agent.dialer.clone(), own, guests: Arc::default() }
    }

    /// Sends an event to a relay and waits for its OK. `attempts` is the number of earlier tries.
    pub async fn send(&self, event: &Event, relay: &RelayUrl, attempts: i64) -> Delivery {
        let due_at = now() + (5_i64 << attempts.clamp(0, 20)).min(LONGEST_WAIT);
        match self.try_send(event, relay).await {
            Ok(()) => Delivery::Accepted,
            Err(Trouble::OfEvent(reason)) if is_final(&reason) || attempts + 1 >= DISLIKED => Delivery::Refused(reason),
            Err(Trouble::OfRelay(reason)) if attempts + 1 >= TRIES => Delivery::Refused(reason),
            Err(Trouble::OfEvent(reason)) => Delivery::Postponed { reason, due_at },
            Err(Trouble::OfRelay(reason)) => Delivery::Delayed { reason, due_at },
        }
    }

    async fn try_send(&self, event: &Event, relay: &RelayUrl) -> Result<(), Trouble> {
        let url = nostr::RelayUrl::parse(relay.as_str()).map_err(|e| Trouble::OfEvent(e.to_string()))?;
        let failed = |e: nostr_sdk::client::Error| Trouble::OfRelay(sanitize(&e.to_string()));
        self.client.add_relay(&url).await.map_err(failed)?;
        self.used(&url).await;
        // Through its own handle: sending through the client holds a lock on all relays while this one is dialed.
        let handle = self.client.relay(&url).await.map_err(failed)?;
        if handle.status() != RelayStatus::Connected {
            let connected = handle.try_connect(self.dialer.limits(relay.network()).connect_timeout).await;
            connected.map_err(|e| Trouble::OfRelay(sanitize(&e.to_string())))?;
        }
        match handle.send_event(event).await {
            Ok(_) => Ok(()),
            Err(nostr_relay_pool::relay::Error::RelayMessage(reason)) => {
                let reason = sanitize(&reason);
                // Refusals that are about us, and not about the event.
                let of_us = ["rate-limited:", "auth-required:"].iter().any(|prefix| reason.starts_with(prefix));
                Err(if of_us { Trouble::OfRelay(reason) } else { Trouble::OfEvent(reason) })
            }
            Err(nostr_relay_pool::relay::Error::Timeout) => {
                // Some relays do not answer, or answer illegibly, and then throttle the connection.
                handle.disconnect();
                Err(Trouble::OfEvent("no answer in time".into()))
            }
            Err(error) => Err(Trouble::OfRelay(sanitize(&error.to_string()))),
        }
    }

    /// Notes that a relay was used. Customers name relays; connections to them are not kept open.
    async fn used(&self, url: &nostr::RelayUrl) {
        if self.own.contains(url) {
            return;
        }
        let idle: Vec<nostr::RelayUrl> = {
            let mut guests = self.guests.lock().expect("no holder panics");
            guests.insert(url.clone(), Instant::now());
            guests.extract_if(|_, used| used.elapsed() > GUEST_STAYS).map(|(url, _)| url).collect()
        };
        for url in idle {
            let _ = self.client.force_remove_relay(url).await;
        }
    }

    /// Disconnects from all relays.
    pub async fn shutdown(&self) {
        self.client.shutdown().await;
    }
}

/// Returns true if a refusal is final, by its machine-readable prefix (NIP-01).
fn is_final(reason: &str) -> bool {
    let prefix = reason.split_once(':').map(|(prefix, _)| prefix.trim());
    matches!(prefix, Some("blocked" | "invalid" | "restricted" | "mute" | "pow"))
}

#[cfg(test)]
mod tests {
    use super::is_final;

    #[test]
    fn only_a_prefix_makes_a_refusal_final() {
        for text in ["blocked: you", "invalid: bad sig", "restricted: members", "pow: 28 bits", "mute: enough"] {
            assert!(is_final(text), "{text}");
        }
        for text in
            ["rate-limited: slow down", "auth-required: who?", "error: disk", "timeout", "wss://blocked.example: no"]
        {
            assert!(!is_final(text), "{text}");
        }
    }
}
