//! Hears requests on the relays where jobs are asked for.

use std::time::Duration;

use anyhow::Result;
use brotr_core::sanitize;
use brotr_dvm::{Acceptance, PING, job_kinds};
use nostr::{Alphabet, Event, Filter, Kind, PublicKey, RelayMessage, SingleLetterTag, SubscriptionId, Timestamp};
use nostr_sdk::{Client, Relay, RelayPoolNotification, SubscribeAutoCloseOptions, SubscribeOptions};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::agent::{Agent, now};
use crate::client::client;
use crate::intake::JobIntake;

/// Requests that wait to be kept, of regular customers and of others.
const QUEUE: usize = 4_096;
/// Stored requests that a relay is asked for, newest first.
const REPLAY: usize = 1_000;
/// Regular customers who are asked for by name, and for the requests of how many seconds.
const ASKED_FOR: usize = 500;
const LATELY: u64 = 120;
/// So many seconds jobs are remembered, and can be paid for.
const REMEMBERED: u64 = 8 * 86_400;
/// How often to see whether we are still subscribed.
const SUBSCRIBED: Duration = Duration::from_secs(5);

/// Receives job requests, stores them and wakes the workers. Runs until it fails.
///
/// The client is of its own, connected to the job relays and nothing else: what strangers' relays send to the one that
/// delivers answers does not reach this one.
///
/// # Errors
/// When the archive cannot be written or a relay's address cannot be used. Started again, it subscribes again, and the
/// relays send what was missed.
pub async fn listen(intake: JobIntake) -> Result<()> {
    let client = client(intake.agent.signer.clone(), &intake.agent.dialer);
    intake.meet().await?;
    let ((regulars, of_regulars), (others, of_others)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
    // Hearing does not wait for keeping: what comes while the queue is full is asked for again.
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
    let mut missed = false;
    loop {
        let (url, message) = tokio::select! {
            notification = notifications.recv() => match notification {
                Ok(RelayPoolNotification::Message { relay_url, message }) => (relay_url, message),
                // Sent only once for an event, also when keeping it failed then: not to be relied upon.
                Ok(RelayPoolNotification::Event { .. }) => continue,
                Ok(RelayPoolNotification::Shutdown) => anyhow::bail!("the client was shut down"),
                Err(RecvError::Lagged(_)) => {
                    missed = true;
                    continue;
                }
                Err(RecvError::Closed) => anyhow::bail!("the client is gone"),
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
                // Whoever signed it: that is found out when it is kept.
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

/// Keeps what was heard, that of customers who were answered before first: they do not wait behind a flood.
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
            else => anyhow::bail!("nobody listens any more"),
        };
        if event.verify().is_err() {
            continue;
        }
        if let Acceptance::Ignored(reason) = intake.take(&event).await? {
            tracing::debug!(job = %event.id, reason, "left a request alone");
        }
    }
}

/// The id of our subscription to requests.
fn subscription() -> SubscriptionId {
    SubscriptionId::new("jobs")
}

/// The id of our question for what regular customers asked.
fn regulars_subscription() -> SubscriptionId {
    SubscriptionId::new("regulars")
}

/// Asks for what regular customers asked of late: in a flood it may have gone by, and all that did is too much to ask for
/// while it lasts.
async fn ask_again(intake: &JobIntake, relay: &Relay) {
    let authors = intake.some_regulars(ASKED_FOR);
    if authors.is_empty() {
        return;
    }
    let kinds = job_kinds().into_iter().map(Kind::from);
    let filter = Filter::new().kinds(kinds).authors(authors).since(Timestamp::now() - LATELY).limit(REPLAY);
    let once = SubscribeOptions::default().close_on(Some(SubscribeAutoCloseOptions::default()));
    if let Err(error) = relay.subscribe_with_id(regulars_subscription(), filter, once).await {
        tracing::debug!(relay = %relay.url(), %error, "failed to ask again");
    }
}

/// Subscribes where we are not, or no more: a relay was away, or it ended the subscription.
async fn subscribe(agent: &Agent, relay: &Relay) {
    if relay.subscription(&subscription()).await.is_some() {
        return;
    }
    let since = now().saturating_sub(agent.config.dvm.max_age.as_secs()).max(0);
    let since = Timestamp::from(since.cast_unsigned());
    let requests = Filter::new().kinds(job_kinds().into_iter().map(Kind::from)).since(since).limit(REPLAY);
    // What takes jobs back says so by the kind of what it deletes, or is addressed to us.
    let kinds = job_kinds().into_iter().map(|kind| kind.to_string());
    let deletions = || Filter::new().kind(Kind::EventDeletion).since(since).limit(REPLAY);
    let by_kind = deletions().custom_tags(SingleLetterTag::lowercase(Alphabet::K), kinds);
    let to_us = deletions().pubkey(agent.signer.public_key());
    // Pings are of the moment.
    let pings = Filter::new().kind(PING).pubkey(agent.signer.public_key()).since(Timestamp::now()).limit(REPLAY);
    let mut filters = vec![requests, by_kind, to_us, pings];
    let zappers = &agent.config.dvm.payment.zappers;
    if !zappers.is_empty() {
        // Only theirs, and as far back as jobs are remembered: money is not to be missed.
        let authors = zappers.iter().filter_map(|text| PublicKey::parse(text).ok());
        let zaps = Filter::new().kind(Kind::ZapReceipt).authors(authors).pubkey(agent.signer.public_key());
        filters.push(zaps.since(Timestamp::now() - REMEMBERED).limit(REPLAY));
    }
    if let Err(error) = relay.subscribe_with_id(subscription(), filters, SubscribeOptions::default()).await {
        tracing::warn!(relay = %relay.url(), %error, "failed to subscribe to jobs, trying again");
    }
}
