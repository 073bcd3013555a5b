//! Receives job requests from the job relays.

use std::time::Duration;

use crate::error::{Error, Result};
use brotr_core::sanitize;
use brotr_dvm::{Acceptance, PING, job_kinds};
use brotr_storage::JobStore;
use nostr::{Alphabet, Event, Filter, Kind, PublicKey, RelayMessage, SingleLetterTag, SubscriptionId, Timestamp};
use nostr_sdk::{Client, Relay, RelayPoolNotification, SubscribeAutoCloseOptions, SubscribeOptions};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::agent::{Agent, now};
use crate::client::own_client;
use crate::clock::timestamp;
use crate::intake::JobIntake;

/// Requests queued for storing, of regular customers and of others each.
const QUEUE: usize = 4_096;
/// Stored requests that are requested from a relay, newest first.
const REPLAY: usize = 1_000;
/// The most regular customers that are requested by name, and for how many past seconds.
const ASKED_FOR: usize = 500;
const LATELY: u64 = 120;
/// Seconds for which jobs are kept and can be paid.
const REMEMBERED: u64 = 8 * 86_400;
/// How often subscriptions are checked.
const SUBSCRIBED: Duration = Duration::from_secs(5);

/// Receives job requests, stores them and wakes the workers. Runs until it fails.
///
/// It uses a client of its own that is connected to the job relays alone, so that whatever strangers' relays send to the client
/// that delivers answers is never received here.
///
/// # Errors
/// Fails if the archive cannot be written or a relay's URL cannot be used. After a restart it subscribes again, and relays send
/// what was missed.
pub async fn listen(intake: JobIntake) -> Result<()> {
    let client = own_client(intake.agent.signer.clone(), &intake.agent.dialer);
    intake.meet().await?;
    let ((regulars, of_regulars), (others, of_others)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
    // Receiving does not wait for storing: what arrives while the queue is full is requested again.
    let ended = tokio::select! {
        ended = receive(&intake, &client, [regulars, others]) => ended,
        ended = keep(&intake, of_regulars, of_others) => ended,
    };
    client.shutdown().await;
    ended
}

async fn receive(intake: &JobIntake, client: &Client, [regulars, others]: [mpsc::Sender<Event>; 2]) -> Result<()> {
    let agent = &intake.agent;
    let mut notifications = client.notifications();
    let mut relays = Vec::new();
    for address in agent.job_relays() {
        let url = nostr::RelayUrl::parse(address.as_str())?;
        client.add_relay(&url).await?;
        let relay = client.relay(&url).await?;
        relay.connect();
        relays.push(relay);
    }
    let mut look = tokio::time::interval(SUBSCRIBED);
    // After a pause of the process, once is enough.
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed = false;
    loop {
        let (url, message) = tokio::select! {
            notification = notifications.recv() => match notification {
                Ok(RelayPoolNotification::Message { relay_url, message }) => (relay_url, message),
                // Emitted once per event even if storing failed: not reliable.
                Ok(RelayPoolNotification::Event { .. }) => continue,
                Ok(RelayPoolNotification::Shutdown) => return Err(Error::Ended("the client of the job relays")),
                Err(RecvError::Lagged(_)) => {
                    missed = true;
                    continue;
                }
                Err(RecvError::Closed) => return Err(Error::Ended("the client of the job relays")),
            },
            _ = look.tick() => {
                let drained = [&regulars, &others].iter().all(|queue| queue.capacity() == queue.max_capacity());
                for relay in &relays {
                    if missed {
                        ask_again(intake, relay).await;
                    }
                    if missed && drained {
                        let _ = relay.unsubscribe(&subscription()).await;
                    }
                    subscribe(agent, relay).await;
                }
                missed &= !drained;
                continue;
            }
        };
        match message {
            RelayMessage::Event { subscription_id, event }
                if [subscription(), regulars_subscription()].contains(&subscription_id) =>
            {
                // Whoever signed it: the signature is verified before it is stored.
                let queue = if intake.is_regular(&event.pubkey) { &regulars } else { &others };
                missed |= queue.try_send(event.into_owned()).is_err();
            }
            RelayMessage::Closed { subscription_id, message } if *subscription_id == subscription() => {
                tracing::warn!(relay = %url, reason = sanitize(&message), "a relay ended our subscription to jobs");
                if let Some(relay) = relays.iter().find(|relay| *relay.url() == url) {
                    let _ = relay.unsubscribe(&subscription()).await;
                }
            }
            _ => {}
        }
    }
}

/// Stores what was received, from regular customers first: they do not wait behind a flood.
async fn keep(
    intake: &JobIntake,
    mut regulars: mpsc::Receiver<Event>,
    mut others: mpsc::Receiver<Event>,
) -> Result<()> {
    loop {
        let event = tokio::select! {
            biased;
            Some(event) = regulars.recv() => event,
            Some(event) = others.recv() => event,
            else => return Err(Error::Ended("the queue of requests")),
        };
        if event.verify().is_err() {
            continue;
        }
        if let Acceptance::Ignored(reason) = intake.take(&event).await? {
            tracing::debug!(job = %event.id, reason, "left a request alone");
        }
    }
}

/// Returns the id of the subscription to requests.
fn subscription() -> SubscriptionId {
    SubscriptionId::new("jobs")
}

/// Returns the id of the request for regular customers' recent events.
fn regulars_subscription() -> SubscriptionId {
    SubscriptionId::new("regulars")
}

/// Requests recent events of regular customers: in a flood they may have been missed, and fetching the whole flood again is too
/// much.
async fn ask_again(intake: &JobIntake, relay: &Relay) {
    let authors = intake.some_regulars(ASKED_FOR);
    if authors.is_empty() {
        return;
    }
    let kinds = job_kinds().into_iter().map(Kind::from);
    let filter = Filter::new().kinds(kinds).authors(authors).since(timestamp() - LATELY).limit(REPLAY);
    let once = SubscribeOptions::default().close_on(Some(SubscribeAutoCloseOptions::default()));
    if let Err(error) = relay.subscribe_with_id(regulars_subscription(), filter, once).await {
        tracing::debug!(relay = %relay.url(), %error, "failed to ask again");
    }
}

/// Subscribes where we are not subscribed: a relay was away, or it closed the subscription.
async fn subscribe(agent: &Agent<dyn JobStore>, relay: &Relay) {
    if relay.subscription(&subscription()).await.is_some() {
        return;
    }
    let since = now().saturating_sub(agent.config.dvm.max_age.as_secs()).max(0);
    let since = Timestamp::from(since.cast_unsigned());
    let requests = Filter::new().kinds(job_kinds().into_iter().map(Kind::from)).since(since).limit(REPLAY);
    // Cancellations name the kind of what they delete, or are addressed to us.
    let kinds = job_kinds().into_iter().map(|kind| kind.to_string());
    let deletions = || Filter::new().kind(Kind::EventDeletion).since(since).limit(REPLAY);
    let by_kind = deletions().custom_tags(SingleLetterTag::lowercase(Alphabet::K), kinds);
    let to_us = deletions().pubkey(agent.signer.public_key());
    // Pings are only of interest now.
    let pings = Filter::new().kind(PING).pubkey(agent.signer.public_key()).since(timestamp()).limit(REPLAY);
    let mut filters = vec![requests, by_kind, to_us, pings];
    let zappers = &agent.config.dvm.payment.zappers;
    if !zappers.is_empty() {
        // From the zappers alone, and as far back as jobs are kept, so that no payment is missed.
        let authors = zappers.iter().filter_map(|text| PublicKey::parse(text).ok());
        let zaps = Filter::new().kind(Kind::ZapReceipt).authors(authors).pubkey(agent.signer.public_key());
        filters.push(zaps.since(timestamp() - REMEMBERED).limit(REPLAY));
    }
    if let Err(error) = relay.subscribe_with_id(subscription(), filters, SubscribeOptions::default()).await {
        tracing::warn!(relay = %relay.url(), %error, "failed to subscribe to jobs, trying again");
    }
}
