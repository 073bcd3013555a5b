//! Runs a task for each relay that comes due: several relays concurrently, no relay twice, and few relays of one host.
//!
//! A service never ends because of an error here: a failed claim is retried, and a relay whose task failed is postponed while
//! work on the others continues.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use crate::error::Result;
use brotr_core::RelayUrl;
use brotr_net::Purpose;
use brotr_storage::{CheckStore, CoverageStore, LeaseStore, Relay, StorageError, Task};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::agent::{Agent, now};
use crate::pulse::Pulse;
use crate::telemetry::{ClaimFailed, Telemetry, WorkFailed};

/// The interval of claims while there is room for more relays,
const TICK: Duration = Duration::from_secs(1);
/// doubled up to this while none are due: a claim is a transaction that writes.
const IDLE_TICK: Duration = Duration::from_secs(4);
/// Relays claimed per relay in work: each claim sorts all relays that are due, and other agents cannot work on claimed ones.
const AHEAD: usize = 2;
/// Relays of one host in work at a time.
const PER_HOST: usize = 2;
/// Backoff after a failed claim, doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Seconds until a relay is due again whose task failed for a reason of our own,
const FAILED_WAIT: i64 = 60;
/// or whose host was busy.
const BUSY_WAIT: std::ops::Range<i64> = 15..45;

/// The stores that a scheduler needs.
pub trait Stores: CheckStore + CoverageStore + LeaseStore + 'static {}
impl<T: CheckStore + CoverageStore + LeaseStore + 'static + ?Sized> Stores for T {}

/// Runs a task for relays that come due.
pub struct Scheduler<'a, A: ?Sized> {
    /// The agent.
    pub agent: &'a Agent<A>,
    /// The task.
    pub task: Task,
    /// Relays in work at a time.
    pub concurrency: usize,
    /// Notified when work on a relay begins and ends.
    pub pulse: &'a Pulse,
}

/// A relay that is claimed and waits for its turn.
struct Claimed {
    relay: Relay,
    host: String,
    at: Instant,
}

impl<A: Stores + ?Sized> Scheduler<'_, A> {
    /// Claims relays that are due and runs `work` for each, forever.
    ///
    /// `claim` returns at most the given number of relays. An error of `work` is a failure for a reason that is not the
    /// relay's.
    pub async fn run<C, W>(&self, claim: impl Fn(i64) -> C, work: impl Fn(Relay) -> W) -> Infallible
    where
        C: Future<Output = Result<Vec<Relay>, StorageError>>,
        W: Future<Output = Result<()>> + Send + 'static,
    {
        self.pulse.reset();
        self.release_all().await;
        let mut working: JoinSet<Result<()>> = JoinSet::new();
        // URL and host of each relay in work.
        let mut busy: HashMap<Id, (String, String)> = HashMap::new();
        let mut waiting: VecDeque<Claimed> = VecDeque::new();
        let (mut claim_at, mut wait, mut idle) = (Instant::now(), FIRST_WAIT, TICK);
        loop {
            if waiting.len() < self.concurrency && busy.len() < self.concurrency && claim_at <= Instant::now() {
                let asked = self.concurrency * AHEAD;
                match claim(i64::try_from(asked).unwrap_or(i64::MAX)).await {
                    Ok(relays) => {
                        wait = FIRST_WAIT;
                        // If fewer were returned than requested, no more are due.
                        claim_at = Instant::now() + if relays.len() < asked { idle } else { Duration::ZERO };
                        idle = if relays.is_empty() { (idle * 2).min(IDLE_TICK) } else { TICK };
                        let known: HashSet<&str> = waiting
                            .iter()
                            .map(|one| &*one.relay.url)
                            .chain(busy.values().map(|(url, _)| &**url))
                            .collect();
                        let new = relays.into_iter().filter(|relay| !known.contains(&*relay.url));
                        let mut new: Vec<Relay> = new.collect();
                        // Sorted by URL if they are due at once: neighbours would be connected to one after the other.
                        fastrand::shuffle(&mut new);
                        waiting.extend(new.into_iter().map(|relay| self.claimed(relay)));
                    }
                    Err(error) => {
                        ClaimFailed { task: self.task.as_str(), error: &error.to_string() }.emit();
                        claim_at = Instant::now() + wait;
                        wait = (wait * 2).min(LONGEST_WAIT);
                    }
                }
            }
            let mut parked = VecDeque::new();
            while busy.len() < self.concurrency
                && let Some(claimed) = waiting.pop_front()
            {
                if self.is_busy(&claimed.host, &busy) {
                    // A host with very many relays must not fill the queue: its other relays come due again shortly.
                    if parked.len() < self.concurrency / 2 {
                        parked.push_back(claimed);
                    } else {
                        self.postpone(&claimed.relay.url, fastrand::i64(BUSY_WAIT)).await;
                    }
                } else if self.is_still_ours(&claimed).await {
                    let url = claimed.relay.url.clone();
                    self.pulse.begin();
                    let id = working.spawn(work(claimed.relay)).id();
                    busy.insert(id, (url, claimed.host));
                }
            }
            parked.append(&mut waiting);
            waiting = parked;
            let ended = tokio::time::timeout(TICK, working.join_next_with_id());
            match ended.await {
                Ok(Some(ended)) => {
                    self.pulse.end();
                    let (id, result) = match ended {
                        Ok((id, result)) => (id, result.map_err(|error| format!("{error:#}"))),
                        Err(error) => (error.id(), Err(format!("it panicked: {error}"))),
                    };
                    if let Some((url, _)) = busy.remove(&id) {
                        self.settle(&url, result).await;
                    }
                }
                Ok(None) => tokio::time::sleep(TICK).await,
                Err(_) => {}
            }
        }
    }

    fn claimed(&self, relay: Relay) -> Claimed {
        let address = RelayUrl::parse(&relay.url, self.agent.dialer.guard());
        let host = address.map_or_else(|_| relay.url.clone(), |address| address.host().to_owned());
        Claimed { relay, host, at: Instant::now() }
    }

    /// Returns true if work on another relay of a host would have to wait for a connection.
    fn is_busy(&self, host: &str, busy: &HashMap<Id, (String, String)>) -> bool {
        busy.values().filter(|(_, other)| other == host).count() >= PER_HOST
            || self.agent.dialer.is_full(host, Purpose::Visit)
    }

    /// Returns true if the lease of a relay that waited here still holds.
    async fn is_still_ours(&self, claimed: &Claimed) -> bool {
        let lease = self.agent.lease();
        if claimed.at.elapsed().as_secs() < lease.seconds.unsigned_abs() / 3 {
            return true;
        }
        self.agent.archive.renew(self.task, &claimed.relay.url, lease).await.unwrap_or(false)
    }

    /// Releases the lease of a relay whose work ended.
    async fn settle(&self, url: &str, result: Result<(), String>) {
        if let Err(error) = result {
            WorkFailed { task: self.task.as_str(), relay: url, error: &error }.emit();
            return self.postpone(url, FAILED_WAIT).await;
        }
        self.release(url).await;
    }

    /// Makes a relay due again after some seconds, and releases its lease.
    async fn postpone(&self, url: &str, seconds: i64) {
        let (archive, due_at) = (&self.agent.archive, now() + seconds);
        let postponed = match self.task {
            Task::Check => archive.set_check_due(url, due_at).await,
            Task::Sync => archive.set_sync_due(url, due_at).await,
        };
        if let Err(error) = postponed {
            tracing::debug!(%error, relay = url, "failed to postpone a relay");
        }
        self.release(url).await;
    }

    async fn release(&self, url: &str) {
        // A lease that is not released expires.
        if let Err(error) = self.agent.archive.release(self.task, Some(url), self.agent.holder).await {
            tracing::debug!(%error, relay = url, "failed to release a relay");
        }
    }

    /// Releases what an earlier run of this service left claimed: one that was paused, failed or panicked.
    async fn release_all(&self) {
        let mut wait = FIRST_WAIT;
        while let Err(error) = self.agent.archive.release(self.task, None, self.agent.holder).await {
            ClaimFailed { task: self.task.as_str(), error: &error.to_string() }.emit();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
