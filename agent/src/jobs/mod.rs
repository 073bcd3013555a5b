//! The DVM's ears and hands: a live subscription that hands requests to the `dvm` crate, workers that do them, and who
//! takes the money.

pub mod cashier;
pub mod wallet;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use brotr_dvm::{Acceptance, Canonical, Dvm, Limits, Outcome, Price, Prices, Terms, Till, job_kinds};
use brotr_storage::{Job, JobStatus, Payment};
use futures::FutureExt;
use nostr::{
    Alphabet, Event, Filter, JsonUtil, Kind, PublicKey, RelayMessage, RelayUrl, SingleLetterTag, SubscriptionId,
    Timestamp,
};
use nostr_sdk::{Client, Relay, RelayPoolNotification, SubscribeOptions};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::agent::{Agent, now};
use crate::config;
use crate::happening::Happening;
use crate::net::Address;
use crate::net::session::clip;
use wallet::Wallet;

use crate::publish::{HERE, Publisher, client, outgoing, spelled};

/// Requests that wait to be kept.
const QUEUE: usize = 4_096;
/// Stored requests that a relay is asked for, newest first.
const REPLAY: usize = 1_000;
/// How often to see whether we are still subscribed.
const SUBSCRIBED: Duration = Duration::from_secs(5);
/// Between what is told of a job that takes long.
const PARTIAL: Duration = Duration::from_secs(5);
/// Asks whether we are there.
pub(crate) const PING: Kind = Kind::Custom(7_007);
/// Jobs that another agent left in the table are looked for so often.
const LOOK: Duration = Duration::from_secs(5);
/// So long after its deadline a job is begun again: whoever had it is gone.
const GRACE: Duration = Duration::from_secs(5);

/// The operator's wallet, if there is one.
///
/// # Errors
/// When it is named by something that is no NIP-47 URI.
pub fn wallet(agent: &Agent) -> Result<Option<Arc<Wallet>>> {
    let payment = &agent.config.dvm.payment;
    let uri = payment.wallet_uri()?;
    Ok(uri.map(|uri| Arc::new(Wallet::new(uri, payment.expiry.get(), &agent.dialer))))
}

/// The `dvm` crate on this agent's archive, key and guard, and the operator's wallet.
#[must_use]
pub fn dvm(agent: &Agent, wallet: Option<Arc<Wallet>>) -> Dvm {
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
        newcomers: config.limits.newcomers,
        allow: keys(&config.limits.allow),
        deny: keys(&config.limits.deny),
        pow: config.limits.pow,
        trust: keys(&config.limits.trust),
        statement: config.limits.statement.get(),
    };
    let of_kinds = |price: &config::Price| {
        let (kinds, price) = (price.kinds.clone(), Price { job: price.job, result: price.result });
        kinds.into_iter().map(move |kind| (kind, price))
    };
    let prices = Prices {
        kinds: config.payment.prices.iter().flat_map(of_kinds).collect(),
        free_per_day: config.payment.free_per_day,
        zappers: keys(&config.payment.zappers),
    };
    let till = wallet.map(|wallet| wallet as Arc<dyn Till>);
    let terms = Terms { max_age: config.max_age.as_secs(), limits, prices, till };
    Dvm::new(agent.archive.clone(), agent.signer.clone(), canonical, terms)
}

/// For ever: hears requests and keeps them; `work` is told of each.
///
/// The client is of its own, connected to the job relays and nothing else: what strangers' relays send to the one that
/// delivers answers does not reach this one.
///
/// # Errors
/// When the archive cannot be written or a relay's address cannot be used. Started again, it subscribes again, and the
/// relays send what was missed.
pub async fn listen(agent: Agent, publisher: Publisher, dvm: Arc<Dvm>, work: Arc<Notify>) -> Result<()> {
    let client = client(agent.signer.clone(), &agent.dialer);
    let (queue, heard) = mpsc::channel(QUEUE);
    let desk = Desk { agent: agent.clone(), publisher, dvm, work };
    // Hearing does not wait for keeping: what comes while the queue is full is asked for again.
    let ended = tokio::select! {
        ended = hear(&agent, &client, queue) => ended,
        ended = keep(&desk, heard) => ended,
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

async fn keep(desk: &Desk, mut heard: mpsc::Receiver<Event>) -> Result<()> {
    while let Some(event) = heard.recv().await {
        if event.verify().is_err() {
            continue;
        }
        if let Acceptance::Ignored(reason) = desk.take(&event).await? {
            tracing::debug!(job = %event.id, reason, "left a request alone");
        }
    }
    anyhow::bail!("nobody listens any more")
}

/// Where requests are handed in, whichever way they came.
#[derive(Clone)]
pub struct Desk {
    /// Whose desk it is.
    pub agent: Agent,
    /// By which what is said goes out.
    pub publisher: Publisher,
    /// What knows the jobs.
    pub dvm: Arc<Dvm>,
    /// Told of each job.
    pub work: Arc<Notify>,
}

impl Desk {
    /// Takes a verified event: a request, a deletion of one, a ping, a zap; and does what is to be done at once.
    ///
    /// # Errors
    /// When the archive cannot be used.
    pub async fn take(&self, event: &Event) -> Result<Acceptance> {
        let acceptance = self.dvm.accept(event, now()).await?;
        match &acceptance {
            Acceptance::New => {
                Happening::JobReceived(event.id).tell();
                self.work.notify_one();
            }
            Acceptance::Cancelled => tracing::debug!(by = %event.id, "a job was taken back"),
            Acceptance::Ping => {
                self.publisher.publish_to(self.dvm.pong(event)?, &answering_relays(&self.agent)).await?;
            }
            Acceptance::Paid(payment) => self.paid(payment).await?,
            Acceptance::Known | Acceptance::Ignored(_) => {}
        }
        Ok(acceptance)
    }

    async fn paid(&self, payment: &Payment) -> Result<()> {
        cashier::paid(&self.agent, &self.dvm, &self.publisher, payment).await
    }
}

/// Where every answer goes.
fn answering_relays(agent: &Agent) -> Vec<String> {
    let mut relays = spelled(&agent.own_relays());
    relays.extend(spelled(&agent.job_relays()));
    if agent.config.relay.enabled {
        relays.push(HERE.to_owned());
    }
    relays.sort_unstable();
    relays.dedup();
    relays
}

/// Where the answers to a job go.
async fn reply_relays(agent: &Agent, dvm: &Dvm, job: &Job) -> Result<Vec<String>> {
    let mut relays = answering_relays(agent);
    relays.extend(dvm.reply_relays(job).await?);
    relays.sort_unstable();
    relays.dedup();
    Ok(relays)
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
    // Pings are of the moment.
    let pings = Filter::new().kind(PING).pubkey(agent.signer.public_key()).since(Timestamp::now()).limit(REPLAY);
    let mut filters = vec![requests, by_kind, to_us, pings];
    if !agent.config.dvm.payment.zappers.is_empty() {
        filters.push(Filter::new().kind(Kind::ZapReceipt).pubkey(agent.signer.public_key()).since(since).limit(REPLAY));
    }
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
    loop {
        while working.len() < agent.config.dvm.concurrency.max(1) {
            let Some(job) = agent.archive.take_job(now()).await? else { break };
            let (agent, publisher, dvm) = (agent.clone(), publisher.clone(), dvm.clone());
            working.spawn(async move { answer(&agent, &publisher, &dvm, &job).await });
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

/// Does one job. Its end and its answer, or its bill, are written in one transaction.
async fn answer(agent: &Agent, publisher: &Publisher, dvm: &Dvm, job: &Job) -> Result<()> {
    let relays = reply_relays(agent, dvm, job).await?;
    publisher.publish_to(dvm.processing(job).await?, &relays).await?;
    let deadline = agent.config.dvm.deadline.get();
    let (sender, mut partial) = watch::channel(String::new());
    // Should the deadline pass, its statement goes on in the database until its own time is over.
    let run = std::panic::AssertUnwindSafe(dvm.run(job, &sender)).catch_unwind();
    let run = std::pin::pin!(tokio::time::timeout(deadline, run));
    let tell = async {
        loop {
            tokio::time::sleep(PARTIAL).await;
            if partial.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let content = partial.borrow_and_update().clone();
            if let Ok(event) = dvm.partial(job, &content).await
                && let Err(error) = publisher.publish_to(event, &relays).await
            {
                tracing::warn!(%error, "failed to tell what is known of a job");
            }
        }
    };
    let done = tokio::select! {
        done = run => done,
        () = tell => unreachable!("it tells for ever"),
    };
    let outcome = match done {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_)) => Outcome::Answer(dvm.failed(job, "the job failed here; this was recorded").await?),
        Err(_) => {
            let why = format!("the job was not done within {} s: ask for less", deadline.as_secs());
            Outcome::Answer(dvm.failed(job, &why).await?)
        }
    };
    let (status, written) = match outcome {
        Outcome::Answer(answer) => {
            let event = outgoing(&answer.event, &relays);
            (answer.status, agent.archive.end_job(job.id, answer.status, now(), &event).await?)
        }
        Outcome::Billed(billed) => {
            let (result, feedback) = (billed.result.as_json(), outgoing(&billed.feedback, &relays));
            (JobStatus::Unpaid, agent.archive.bill_job(&billed.bill, &result, &feedback, now()).await?)
        }
    };
    if written {
        publisher.wake();
        let seconds = now() - job.received_at;
        Happening::JobEnded { job: job.id, status: status.as_str(), seconds }.tell();
    }
    Ok(())
}
