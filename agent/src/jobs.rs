//! The DVM's ears and hands: a live subscription that hands requests to the `dvm` crate, and workers that do them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use brotr_dvm::{Acceptance, Canonical, Dvm, JOB_KINDS};
use brotr_storage::Job;
use futures::FutureExt;
use nostr::{Filter, Kind, RelayUrl, Timestamp};
use nostr_sdk::RelayPoolNotification;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::agent::{Agent, now};
use crate::happening::Happening;
use crate::net::Address;
use crate::publish::{Publisher, Voice, outgoing, spelled};

/// Jobs that another agent left in the table are looked for so often.
const LOOK: Duration = Duration::from_secs(5);

/// The `dvm` crate on this agent's archive, key and guard.
#[must_use]
pub fn dvm(agent: &Agent) -> Dvm {
    let guard = agent.dialer.guard().clone();
    let canonical: Canonical = Arc::new(move |url: &str| {
        Address::parse(url, &guard).map(|a| a.as_str().to_owned()).map_err(|e| e.to_string())
    });
    Dvm::new(agent.archive.clone(), agent.signer.clone(), canonical, agent.config.dvm.max_age.as_secs())
}

/// For ever: hears requests and keeps them; `work` is told of each.
///
/// # Errors
/// When the archive cannot be written or the subscription cannot be made.
pub async fn listen(agent: Agent, voice: Voice, dvm: Arc<Dvm>, work: Arc<Notify>) -> Result<()> {
    let client = voice.client();
    let mut notifications = client.notifications();
    let mut urls = Vec::new();
    for address in agent.job_relays() {
        let url = RelayUrl::parse(address.as_str())?;
        client.add_relay(&url).await?;
        client.connect_relay(&url).await?;
        urls.push(url);
    }
    let since = now().saturating_sub(agent.config.dvm.max_age.as_secs()).max(0);
    let filter =
        Filter::new().kinds(JOB_KINDS.iter().copied().map(Kind::from)).since(Timestamp::from(since.cast_unsigned()));
    client.subscribe_to(urls, filter, None).await?;
    loop {
        let event = match notifications.recv().await {
            Ok(RelayPoolNotification::Event { event, .. }) => event,
            Ok(RelayPoolNotification::Shutdown) => anyhow::bail!("the client was shut down"),
            Ok(RelayPoolNotification::Message { .. }) => continue,
            // Started again, we subscribe again, and the relays send what was missed.
            Err(RecvError::Lagged(n)) => anyhow::bail!("{n} messages came faster than they were kept"),
            Err(RecvError::Closed) => anyhow::bail!("the client is gone"),
        };
        match dvm.accept(&event, now()).await? {
            Acceptance::New => {
                Happening::JobReceived(event.id).tell();
                work.notify_one();
            }
            Acceptance::Known => {}
            Acceptance::Ignored(reason) => tracing::debug!(job = %event.id, reason, "left a request alone"),
        }
    }
}

/// For ever: does the jobs that were kept, several at a time.
///
/// # Errors
/// When the archive cannot be used.
pub async fn work(agent: Agent, publisher: Publisher, dvm: Arc<Dvm>, work: Arc<Notify>) -> Result<()> {
    // Begun before a restart, and not ended.
    agent.archive.put_back_jobs().await?;
    let mut working: JoinSet<Result<()>> = JoinSet::new();
    loop {
        while working.len() < agent.config.dvm.concurrency.max(1) {
            let Some(job) = agent.archive.take_job().await? else { break };
            let (agent, publisher, dvm) = (agent.clone(), publisher.clone(), dvm.clone());
            working.spawn(async move { answer(&agent, &publisher, &dvm, &job).await });
        }
        tokio::select! {
            Some(ended) = working.join_next() => ended??,
            () = work.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Does one job. Its end and its answer are written in one transaction.
async fn answer(agent: &Agent, publisher: &Publisher, dvm: &Dvm, job: &Job) -> Result<()> {
    let mut relays = spelled(&agent.own_relays());
    relays.extend(spelled(&agent.job_relays()));
    relays.extend(dvm.reply_relays(job));
    relays.sort_unstable();
    relays.dedup();
    publisher.publish_to(dvm.processing(job)?, &relays).await?;
    let deadline = agent.config.dvm.deadline.get();
    let run = std::panic::AssertUnwindSafe(dvm.run(job)).catch_unwind();
    let answer = match tokio::time::timeout(deadline, run).await {
        Ok(Ok(answer)) => answer?,
        Ok(Err(_)) => dvm.failed(job, "the job failed here; this was recorded")?,
        Err(_) => dvm.failed(job, &format!("the job was not done within {} s: ask for less", deadline.as_secs()))?,
    };
    let ended = agent.archive.end_job(job.id, answer.status, now(), &outgoing(&answer.event, &relays)).await?;
    if ended {
        publisher.wake();
        let seconds = now() - job.received_at;
        Happening::JobEnded { job: job.id, status: answer.status.as_str(), seconds }.tell();
    }
    Ok(())
}
