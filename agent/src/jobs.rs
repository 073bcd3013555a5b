//! The DVM's ears and hands: a live subscription that hands requests to the `dvm` crate, and workers that do them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use brotr_dvm::{Acceptance, Canonical, Dvm, Limits, job_kinds};
use brotr_storage::Job;
use nostr::{
    Alphabet, Event, Filter, Kind, PublicKey, RelayMessage, RelayUrl, SingleLetterTag, SubscriptionId, Timestamp,
};
use nostr_sdk::{Client, Relay, RelayPoolNotification, SubscribeOptions};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::agent::{Agent, now};
use crate::happening::Happening;
use crate::net::Address;
use crate::net::session::clip;
use crate::publish::{HERE, Publisher, client, outgoing, spelled};

/// Requests that wait to be kept.
const QUEUE: usize = 4_096;
/// Stored requests that a relay is asked for, newest first.
const REPLAY: usize = 1_000;
/// How often to see whether we are still subscribed.
const SUBSCRIBED: Duration = Duration::from_secs(5);
/// Jobs that another agent left in the table are looked for so often.
const LOOK: Duration = Duration::from_secs(5);
/// So long after its deadline a job is begun again: whoever had it is gone.
const GRACE: Duration = Duration::from_secs(5);

/// The `dvm` crate on this agent's archive, key and guard.
#[must_use]
pub fn dvm(agent: &Agent) -> Dvm {
    let guard = agent.dialer.guard().clone();
    let canonical: Canonical = Arc::new(move |url: &str| {
        Address::parse(url, &guard).map(|a| a.as_str().to_owned()).map_err(|e| e.to_string())
    });
    let config = &agent.config.dvm;
    let keys = |list: &[String]| list.iter().filter_map(|text| PublicKey::parse(text).ok()).collect();
    let limits = Limits {
        per_minute: config.limits.per_minute,
        all_per_minute: config.limits.all_per_minute,
        open: config.limits.open,
        allow: keys(&config.limits.allow),
        deny: keys(&config.limits.deny),
        pow: config.limits.pow,
    };
    Dvm::new(agent.archive.clone(), agent.signer.clone(), canonical, config.max_age.as_secs(), limits)
}

/// For ever: hears requests and keeps them; `work` is told of each.
///
/// The client is of its own, connected to the job relays and nothing else: what strangers' relays send to the one that
/// delivers answers does not reach this one.
///
/// # Errors
/// When the archive cannot be written or a relay's address cannot be used. Started again, it subscribes again, and the
/// relays send what was missed.
pub async fn listen(agent: Agent, dvm: Arc<Dvm>, work: Arc<Notify>) -> Result<()> {
    let client = client(&agent.signer, &agent.dialer);
    let (queue, heard) = mpsc::channel(QUEUE);
    // Hearing does not wait for keeping: what comes while the queue is full is asked for again.
    let ended = tokio::select! {
        ended = hear(&agent, &client, queue) => ended,
        ended = keep(&dvm, heard, &work) => ended,
    };
    client.shutdown().await;
    ended
}

async fn hear(agent: &Agent, client: &Client, queue: mpsc::Sender<Event>) -> Result<()> {
    let mut notifications = client.notifications();
    let mut relays = Vec::new();
    for address in agent.job_relays() {
        let url = RelayUrl::parse(address.as_str())?;
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
                let drained = queue.capacity() == queue.max_capacity();
                for relay in &relays {
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
            RelayMessage::Event { subscription_id, event } if *subscription_id == subscription() => {
                missed |= queue.try_send(event.into_owned()).is_err();
            }
            RelayMessage::Closed { subscription_id, message } if *subscription_id == subscription() => {
                tracing::warn!(relay = %url, reason = clip(&message), "a relay ended our subscription to jobs");
                if let Some(relay) = relays.iter().find(|relay| *relay.url() == url) {
                    let _ = relay.unsubscribe(&subscription()).await;
                }
            }
            _ => {}
        }
    }
}

async fn keep(dvm: &Dvm, mut heard: mpsc::Receiver<Event>, work: &Notify) -> Result<()> {
    while let Some(event) = heard.recv().await {
        if event.verify().is_err() {
            continue;
        }
        match dvm.accept(&event, now()).await? {
            Acceptance::New => {
                Happening::JobReceived(event.id).tell();
                work.notify_one();
            }
            Acceptance::Cancelled => tracing::debug!(by = %event.id, "a job was taken back"),
            Acceptance::Known => {}
            Acceptance::Ignored(reason) => tracing::debug!(job = %event.id, reason, "left a request alone"),
        }
    }
    anyhow::bail!("nobody listens any more")
}

/// The id of our subscription to requests.
fn subscription() -> SubscriptionId {
    SubscriptionId::new("jobs")
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
    let filters = vec![requests, by_kind, to_us];
    if let Err(error) = relay.subscribe_with_id(subscription(), filters, SubscribeOptions::default()).await {
        tracing::warn!(relay = %relay.url(), %error, "failed to subscribe to jobs, trying again");
    }
}

/// For ever: does the jobs that were kept, several at a time.
///
/// # Errors
/// When the archive cannot be used.
pub async fn work(agent: Agent, publisher: Publisher, dvm: Arc<Dvm>, work: Arc<Notify>) -> Result<()> {
    // Begun before a restart, and not ended. If another agent on this database is at one of them, the first answer counts.
    agent.archive.put_back_jobs(now()).await?;
    let longest = agent.config.dvm.deadline.get().as_secs().saturating_add(GRACE.as_secs()).cast_signed();
    let mut look = tokio::time::interval(LOOK);
    let mut working: JoinSet<Result<()>> = JoinSet::new();
    let statements = Arc::new(Semaphore::new(agent.config.dvm.concurrency.max(1)));
    loop {
        while working.len() < agent.config.dvm.concurrency.max(1) {
            let Some(job) = agent.archive.take_job(now()).await? else { break };
            let (agent, publisher, dvm, statements) =
                (agent.clone(), publisher.clone(), dvm.clone(), statements.clone());
            working.spawn(async move { answer(&agent, &publisher, &dvm, statements, job).await });
        }
        tokio::select! {
            Some(ended) = working.join_next() => ended??,
            () = work.notified() => {}
            _ = look.tick() => {
                // Another agent had begun them, and is gone.
                agent.archive.put_back_jobs(now().saturating_sub(longest)).await?;
            }
        }
    }
}

/// Does one job. Its end and its answer are written in one transaction.
async fn answer(
    agent: &Agent,
    publisher: &Publisher,
    dvm: &Arc<Dvm>,
    statements: Arc<Semaphore>,
    job: Job,
) -> Result<()> {
    let job = &job;
    let mut relays = spelled(&agent.own_relays());
    relays.extend(spelled(&agent.job_relays()));
    relays.extend(dvm.reply_relays(job).await?);
    relays.sort_unstable();
    relays.dedup();
    if agent.config.relay.enabled {
        relays.push(HERE.to_owned());
    }
    publisher.publish_to(dvm.processing(job).await?, &relays).await?;
    let deadline = agent.config.dvm.deadline.get();
    // Should the deadline pass, the customer has an answer and the database goes on with the statement; it keeps its
    // permit until then, so that jobs never hold more than so many connections.
    let run = {
        let (dvm, job) = (dvm.clone(), job.clone());
        async move {
            let _permit = statements.acquire_owned().await.expect("the semaphore is never closed");
            dvm.run(&job).await
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it must outlive its deadline, and ends with its statement")]
    let run = tokio::spawn(run);
    let answer = match tokio::time::timeout(deadline, run).await {
        Ok(Ok(answer)) => answer?,
        Ok(Err(_)) => dvm.failed(job, "the job failed here; this was recorded").await?,
        Err(_) => {
            dvm.failed(job, &format!("the job was not done within {} s: ask for less", deadline.as_secs())).await?
        }
    };
    let ended = agent.archive.end_job(job.id, answer.status, now(), &outgoing(&answer.event, &relays)).await?;
    if ended {
        publisher.wake();
        let seconds = now() - job.received_at;
        Happening::JobEnded { job: job.id, status: answer.status.as_str(), seconds }.tell();
    }
    Ok(())
}
