//! Work that comes due relay by relay: several relays at a time, none twice at once, and few of one host.
//!
//! A service never ends because of an error here: a failed claim is tried again, and a relay whose work failed is
//! postponed while work on the others goes on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use brotr_core::RelayUrl;
use brotr_net::Purpose;
use brotr_storage::{CheckStore, CoverageStore, LeaseStore, Relay, StorageError, Task};
use tokio::task::{Id, JoinSet};

use crate::agent::{Agent, now};
use crate::pulse::Pulse;
use crate::telemetry::{ClaimFailed, Telemetry, WorkFailed};

/// How often to claim relays while there is room for more.
const TICK: Duration = Duration::from_secs(1);
/// How many times as many relays are claimed as are worked on: each claim sorts all that are due, and what one agent
/// has claimed another one cannot begin.
const AHEAD: usize = 2;
/// Relays of one host that are worked on at a time.
const PER_HOST: usize = 2;
/// The wait after a failed claim, doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Seconds until a relay is due again whose work failed for a reason of ours,
const FAILED_WAIT: i64 = 60;
/// and whose host was busy.
const BUSY_WAIT: std::ops::Range<i64> = 15..45;

/// What a scheduler needs of the archive.
pub trait Stores: CheckStore + CoverageStore + LeaseStore + 'static {}
impl<T: CheckStore + CoverageStore + LeaseStore + 'static + ?Sized> Stores for T {}

/// Works through the relays that come due for a task.
pub struct Scheduler<'a, A: ?Sized> {
    /// The agent's means.
    pub agent: &'a Agent<A>,
    /// What is done with each relay.
    pub task: Task,
    /// Relays at a time.
    pub concurrency: usize,
    /// Told when work on a relay begins and ends.
    pub pulse: &'a Pulse,
}

/// A relay that is claimed and waits for its turn.
struct Claimed {
    relay: Relay,
    host: String,
    at: Instant,
}

impl<A: Stores + ?Sized> Scheduler<'_, A> {
    /// Claims relays that are due and works on them, forever.
    ///
    /// `claim` gives at most as many relays as it is told. Work that returns an error failed for a reason that is not
    /// the relay's.
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
        let (mut claim_at, mut wait) = (Instant::now(), FIRST_WAIT);
        loop {
            if waiting.len() < self.concurrency && busy.len() < self.concurrency && claim_at <= Instant::now() {
                let asked = self.concurrency * AHEAD;
                match claim(i64::try_from(asked).unwrap_or(i64::MAX)).await {
                    Ok(relays) => {
                        wait = FIRST_WAIT;
                        // Where there are fewer than were asked for, no more are due at this moment.
                        claim_at = Instant::now() + if relays.len() < asked { TICK } else { Duration::ZERO };
                        let known: HashSet<&str> = waiting
                            .iter()
                            .map(|one| &*one.relay.url)
                            .chain(busy.values().map(|(url, _)| &**url))
                            .collect();
                        let new: Vec<_> = relays.into_iter().filter(|relay| !known.contains(&*relay.url)).collect();
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
                    // A host with very many relays must not fill the queue: its relays come due again a little later.
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

    /// Returns whether work on another relay of a host would have to wait for a connection.
    fn is_busy(&self, host: &str, busy: &HashMap<Id, (String, String)>) -> bool {
        busy.values().filter(|(_, other)| other == host).count() >= PER_HOST
            || self.agent.dialer.is_full(host, Purpose::Visit)
    }

    /// Returns whether the lease of a relay that waited here still holds.
    async fn is_still_ours(&self, claimed: &Claimed) -> bool {
        let lease = self.agent.lease();
        if claimed.at.elapsed().as_secs() < lease.seconds.unsigned_abs() / 3 {
            return true;
        }
        self.agent.archive.renew(self.task, &claimed.relay.url, lease).await.unwrap_or(false)
    }

    /// Gives up the lease of a relay whose work ended.
    async fn settle(&self, url: &str, result: Result<(), String>) {
        if let Err(error) = result {
            WorkFailed { task: self.task.as_str(), relay: url, error: &error }.emit();
            return self.postpone(url, FAILED_WAIT).await;
        }
        self.release(url).await;
    }

    /// Makes a relay due again after some seconds, and gives up its lease.
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
        // A lease that is not given up ends by itself.
        if let Err(error) = self.agent.archive.release(self.task, Some(url), self.agent.holder).await {
            tracing::debug!(%error, relay = url, "failed to release a relay");
        }
    }

    /// Gives up what an earlier run of this service left claimed: one that was paused, failed or panicked.
    async fn release_all(&self) {
        let mut wait = FIRST_WAIT;
        while let Err(error) = self.agent.archive.release(self.task, None, self.agent.holder).await {
            ClaimFailed { task: self.task.as_str(), error: &error.to_string() }.emit();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
