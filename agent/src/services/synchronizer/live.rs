//! Follows relays: events are archived as relays receive them.
//!
//! This claims no coverage, since a relay may leave out events: the next pass finds the events known, and proves the rest. Of
//! several agents on one database, one follows a relay.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Result;
use brotr_core::{RelayState, RelayUrl, parse_filter};
use brotr_net::{End, LIVE_PER_HOST, Session};
use brotr_storage::{Batch, RelayQuery};
use futures::FutureExt;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::{Stores, failure, objection, rest, wait_for_room};
use crate::agent::{Agent, now};
use crate::state::State;
use crate::telemetry::{LiveEnded, LiveStarted, PageStored, Telemetry};

/// How often free slots are filled.
const FILL: Duration = Duration::from_secs(10);
/// How often the slots with the least novelty are given to other relays.
const ROTATE: Duration = Duration::from_secs(900);
/// One live slot in this many is for a relay whose novelty is unknown.
const EXPLORERS: usize = 8;
/// The first backoff after a lost connection,
const LOST: Duration = Duration::from_secs(10);
/// and after a refusal;
const REFUSED: Duration = Duration::from_secs(300);
/// doubled each time, up to this.
const LAST_REST: Duration = Duration::from_secs(3_600);
/// A subscription that lasted this long resets the backoff.
const STEADY: Duration = Duration::from_secs(600);
/// The most relays considered.
const CANDIDATES: i64 = 10_000;
/// Events over which the novelty of a relay is averaged; older ones count half.
const MEMORY: u64 = 1_000;
/// How often the novelty of a relay is stored.
const KEPT: Duration = Duration::from_secs(60);
/// The novelty of each relay, by its URL.
const NOVELTY: State<Novelty> = State::new("synchronizer", "novelty");

/// How many of a relay's live events no other relay had sent before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Novelty {
    new: u64,
    all: u64,
}

impl Novelty {
    fn add(&mut self, new: u64, all: u64) {
        if self.all >= MEMORY {
            *self = Self { new: self.new / 2, all: self.all / 2 };
        }
        *self = Self { new: self.new + new, all: self.all + all };
    }

    fn share(self) -> f64 {
        self.new as f64 / self.all.max(1) as f64
    }
}

impl FromStr for Novelty {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (new, all) = text.split_once(' ').ok_or(())?;
        Ok(Self { new: new.parse().map_err(|_| ())?, all: all.parse().map_err(|_| ())? })
    }
}

impl std::fmt::Display for Novelty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.new, self.all)
    }
}

/// A relay that is not followed, and until when.
struct Rest {
    until: Instant,
    length: Duration,
}

/// Keeps live subscriptions to up to `synchronizer.live_relays` relays. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn run(agent: Agent<impl Stores + ?Sized>) -> Result<()> {
    let places = agent.config.synchronizer.live_relays;
    let mut following: JoinSet<(String, Instant, Result<Duration>)> = JoinSet::new();
    let mut followed: HashMap<String, AbortHandle> = HashMap::new();
    let mut resting: HashMap<String, Rest> = HashMap::new();
    // Relays that other agents followed recently.
    let mut elsewhere: HashMap<String, Instant> = HashMap::new();
    let lease = Duration::from_secs(agent.lease().seconds.unsigned_abs());
    let started = Instant::now();
    let (mut fill_at, mut rotate_at) = (Instant::now(), Instant::now() + ROTATE);
    loop {
        let due = Instant::now() >= fill_at;
        if due {
            fill_at = Instant::now() + FILL;
            for url in left_alone(&agent).await {
                followed.remove(&url).inspect(AbortHandle::abort);
            }
        }
        if due && (followed.len() < places || Instant::now() >= rotate_at) {
            resting.retain(|_, rest| rest.until + LAST_REST > Instant::now());
            let (mut candidates, novelties) = match futures::try_join!(candidates(&agent), remembered(&agent)) {
                Ok(found) => found,
                // Existing subscriptions continue.
                Err(error) => {
                    tracing::warn!(%error, "failed to look for relays to follow");
                    continue;
                }
            };
            if Instant::now() >= rotate_at {
                rotate_at = Instant::now() + ROTATE;
                let urls = followed.keys().cloned().collect();
                if candidates.len() > followed.len() {
                    for url in least(urls, &novelties, places.div_ceil(EXPLORERS)) {
                        followed.remove(&url).inspect(AbortHandle::abort);
                    }
                }
            }
            let rests = |url: &String| resting.get(url).is_some_and(|rest| rest.until > Instant::now());
            elsewhere.retain(|_, until| *until > Instant::now());
            candidates.retain(|url| !followed.contains_key(url) && !rests(url) && !elsewhere.contains_key(url));
            let host = |url: &String| Some(RelayUrl::parse(url, agent.dialer.guard()).ok()?.host().to_owned());
            limit_hosts(&mut candidates, followed.keys(), &novelties, host);
            let mut free = places.saturating_sub(followed.len());
            if started.elapsed() < lease + lease / 2 {
                // An agent that follows these may have died: slots are reserved for them until that is known.
                free = free.saturating_sub(elsewhere.len());
            }
            let exploring = followed.keys().filter(|url| !novelties.contains_key(*url)).count();
            for url in choose(candidates, &novelties, free, places.div_ceil(EXPLORERS).saturating_sub(exploring)) {
                match agent.archive.try_acquire_leader(&led(&url), agent.lease()).await {
                    Ok(true) => {}
                    // If that agent dies, its lease expires.
                    Ok(false) => {
                        elsewhere.insert(url, Instant::now() + lease / 3);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(%error, relay = url, "failed to claim a relay to follow");
                        break;
                    }
                }
                let (agent, name) = (agent.clone(), url.clone());
                let task = following.spawn(async move {
                    let began = Instant::now();
                    let result = tokio::select! {
                        result = follow(&agent, &name).boxed() => result,
                        result = lead(&agent, &name) => result,
                    };
                    (name, began, result)
                });
                followed.insert(url, task);
            }
        }
        let Ok(Some(ended)) = tokio::time::timeout_at(fill_at, following.join_next()).await else {
            tokio::time::sleep_until(if following.is_empty() { fill_at } else { Instant::now() }).await;
            continue;
        };
        match ended {
            Ok((url, began, result)) => {
                let rest = result.unwrap_or_else(|error| {
                    LiveEnded { relay: &url, reason: &format!("{error:#}") }.emit();
                    LOST
                });
                followed.remove(&url);
                let before = resting.get(&url).filter(|_| began.elapsed() < STEADY);
                let length = before.map_or(rest, |before| (before.length * 2).clamp(rest, LAST_REST));
                fill_at = fill_at.min(Instant::now() + LOST);
                resting.insert(url, Rest { until: Instant::now() + length, length });
            }
            Err(error) if error.is_cancelled() => {}
            // Which relay it was is not known: all are followed anew.
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the name of the leader lease of a followed relay.
fn led(url: &str) -> String {
    format!("following {url}")
}

/// Renews the leader lease of a relay, until another agent holds it.
async fn lead(agent: &Agent<impl Stores + ?Sized>, url: &str) -> Result<Duration> {
    let lease = agent.lease();
    loop {
        tokio::time::sleep(Duration::from_secs(lease.seconds.unsigned_abs().div_ceil(3))).await;
        match agent.archive.try_acquire_leader(&led(url), lease).await {
            Ok(true) => {}
            Ok(false) => {
                LiveEnded { relay: url, reason: "another agent follows it" }.emit();
                return Ok(LOST);
            }
            // Storing live events waits for the archive as well.
            Err(error) => tracing::warn!(%error, relay = url, "failed to keep others from a relay"),
        }
    }
}

/// Returns relays that may be followed.
async fn candidates(agent: &Agent<impl Stores + ?Sized>) -> Result<Vec<String>> {
    let states =
        if agent.config.monitor.enabled { vec![RelayState::Up] } else { vec![RelayState::Up, RelayState::New] };
    let networks = agent.dialer.networks();
    let query = RelayQuery { networks, states, limit: CANDIDATES, ..RelayQuery::default() };
    Ok(agent.archive.relays(&query).await?.into_iter().map(|relay| relay.url).collect())
}

/// Returns the relays whose operators asked that they are not read.
async fn left_alone(agent: &Agent<impl Stores + ?Sized>) -> Vec<String> {
    let query = RelayQuery { states: vec![RelayState::OptedOut], limit: CANDIDATES, ..RelayQuery::default() };
    match agent.archive.relays(&query).await {
        Ok(relays) => relays.into_iter().map(|relay| relay.url).collect(),
        Err(error) => {
            tracing::warn!(%error, "failed to look for relays that are not to be followed any more");
            vec![]
        }
    }
}

async fn remembered(agent: &Agent<impl Stores + ?Sized>) -> Result<HashMap<String, Novelty>> {
    Ok(NOVELTY.all(agent.archive.as_ref()).await?.into_iter().collect())
}

/// Returns the `n` relays with the least novelty.
fn least(mut urls: Vec<String>, novelties: &HashMap<String, Novelty>, n: usize) -> Vec<String> {
    let share = |url: &String| novelties.get(url).map_or(0.0, |novelty| novelty.share());
    urls.sort_by(|a, b| share(a).total_cmp(&share(b)).then_with(|| a.cmp(b)));
    urls.truncate(n);
    urls
}

/// Keeps no more candidates of a host than may be followed beside those that are followed, by novelty. Some hosts have a
/// hundred relays, which would fill the slots and be refused a connection.
fn limit_hosts<'a>(
    candidates: &mut Vec<String>,
    followed: impl Iterator<Item = &'a String>,
    novelties: &HashMap<String, Novelty>,
    host: impl Fn(&String) -> Option<String>,
) {
    let mut taken: HashMap<String, usize> = HashMap::new();
    for host in followed.filter_map(&host) {
        *taken.entry(host).or_default() += 1;
    }
    fastrand::shuffle(candidates);
    let share = |url: &String| novelties.get(url).map_or(0.0, |novelty| novelty.share());
    candidates.sort_by(|a, b| share(b).total_cmp(&share(a)));
    candidates.retain(|url| {
        let Some(host) = host(url) else { return false };
        let taken = taken.entry(host).or_default();
        *taken += 1;
        *taken <= LIVE_PER_HOST
    });
}

/// Picks relays for `free` live slots by novelty, but up to `explorers` whose novelty is unknown.
fn choose(candidates: Vec<String>, novelties: &HashMap<String, Novelty>, free: usize, explorers: usize) -> Vec<String> {
    let (mut known, mut unknown): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|url| novelties.contains_key(url));
    known.sort_by(|a, b| novelties[b].share().total_cmp(&novelties[a].share()).then_with(|| a.cmp(b)));
    fastrand::shuffle(&mut unknown);
    let exploring = explorers.max(free.saturating_sub(known.len())).min(free).min(unknown.len());
    unknown.truncate(exploring);
    known.truncate(free - exploring);
    known.into_iter().chain(unknown).collect()
}

/// Follows one relay until the connection ends; returns how long to wait before the next try. Events that it received before
/// and between subscriptions are left to a pass, which is scheduled at once.
async fn follow(agent: &Agent<impl Stores + ?Sized>, url: &str) -> Result<Duration> {
    let Ok(address) = RelayUrl::parse(url, agent.dialer.guard()) else { return Ok(LAST_REST) };
    let settings = agent.config.synchronizer.of(address.as_str(), address.host());
    if !settings.enabled || !settings.live || objection(agent, &address, RelayState::Up).await?.is_some() {
        return Ok(LAST_REST);
    }
    let filters = settings.filters.iter().map(parse_filter).collect::<Result<Vec<_>, _>>()?;
    let (rest, why) = match Session::open_shared(&agent.dialer, &address, settings.auth).await {
        Err(error) => (if error.is_ours() { LOST } else { REFUSED }, Some(error.to_string())),
        Ok(session) => match session.follow(filters).await {
            Err(end) => (LOST, failure(end)),
            Ok(mut live) => {
                fill(agent, &address).await?;
                LiveStarted { relay: url }.emit();
                let mut novelty = NOVELTY.get(agent.archive.as_ref(), url).await?.unwrap_or_default();
                let mut kept_at = Instant::now();
                let mut may_log_in = settings.auth;
                let ended = loop {
                    let received = match live.next().await {
                        Ok(received) => received,
                        Err(End::Closed(reason))
                            if reason.starts_with("auth-required:") && std::mem::take(&mut may_log_in) =>
                        {
                            let Some(event) = super::auth_event(agent, &address, live.challenge())? else {
                                break (REFUSED, failure(End::Closed(reason)));
                            };
                            match live.authenticate(&event).await {
                                Ok(true) => continue,
                                Ok(false) => break (REFUSED, failure(End::Closed(reason))),
                                Err(end) => break (LOST, failure(end)),
                            }
                        }
                        Err(end @ (End::Closed(_) | End::Overflow)) => break (REFUSED, failure(end)),
                        Err(end) => break (LOST, failure(end)),
                    };
                    wait_for_room(agent).await;
                    let checked = agent.ingest.check(url, received.events).await?;
                    let known = checked.known_ids();
                    let rejected = received.transferred - checked.new.len() - known.len();
                    let relay = Some((url.to_owned(), address.network()));
                    let batch = Batch { relay, seen_at: now(), prepared: checked.new, known, ..Batch::default() };
                    let stored = agent.archive.store(batch).await?;
                    PageStored { relay: url, stored: stored.stored, known: stored.known, rejected }.emit();
                    novelty.add(stored.stored as u64, received.transferred as u64);
                    if kept_at.elapsed() >= KEPT {
                        kept_at = Instant::now();
                        NOVELTY.set(agent.archive.as_ref(), url, &novelty).await?;
                    }
                };
                NOVELTY.set(agent.archive.as_ref(), url, &novelty).await?;
                fill(agent, &address).await?;
                ended
            }
        },
    };
    LiveEnded { relay: url, reason: why.as_deref().unwrap_or_default() }.emit();
    Ok(rest)
}

/// Schedules a pass over what a relay received while it was not followed, unless it is resting after a failure.
async fn fill(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<()> {
    if !rest::is_failing(agent, address).await? {
        agent.archive.set_sync_due(address.as_str(), now()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_slots_go_to_the_relays_with_most_novelty() {
        let urls = |list: &[&str]| list.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let novelty = |list: &[(&str, u64, u64)]| {
            list.iter().map(|(url, new, all)| ((*url).to_owned(), Novelty { new: *new, all: *all })).collect()
        };
        let known: HashMap<_, _> = novelty(&[("a", 1, 100), ("b", 90, 100), ("c", 5, 10), ("d", 0, 0)]);
        let all = urls(&["a", "b", "c", "d", "x", "y", "z"]);
        assert_eq!(choose(all.clone(), &known, 3, 0), ["b", "c", "a"]);
        let chosen = choose(all.clone(), &known, 3, 1);
        assert_eq!(chosen[..2], ["b", "c"]);
        assert!(["x", "y", "z"].contains(&chosen[2].as_str()));
        assert_eq!(choose(all.clone(), &known, 0, 2), [""; 0]);
        assert_eq!(choose(all, &known, 20, 1).len(), 7, "places are not left empty");
        assert_eq!(choose(urls(&["x", "y"]), &known, 1, 0).len(), 1);
        assert_eq!(least(urls(&["b", "a", "new", "c"]), &known, 2), ["new", "a"]);
    }

    #[test]
    fn a_host_with_many_relays_takes_two_permits() {
        let list = |hosts: &[(&str, usize)]| -> Vec<String> {
            hosts.iter().flat_map(|(host, n)| (0..*n).map(move |n| format!("{host}/{n}"))).collect()
        };
        let host = |url: &String| url.split_once('/').map(|(host, _)| host.to_owned());
        let novelties = [("many/7".to_owned(), Novelty { new: 9, all: 10 })].into();
        let mut candidates = list(&[("many", 104), ("one", 1), ("few", 3)]);
        limit_hosts(&mut candidates, ["few/9".to_owned()].iter(), &novelties, host);
        let of = |name: &str| candidates.iter().filter(|url| url.starts_with(name)).count();
        assert_eq!((of("many"), of("one"), of("few")), (2, 1, 1), "{candidates:?}");
        assert_eq!(candidates[0], "many/7", "the one that brings most that is new");
    }

    #[test]
    fn novelty_decays() {
        let mut novelty = Novelty::default();
        novelty.add(2_000, 2_000);
        (0..40).for_each(|_| novelty.add(0, 200));
        assert!(novelty.share() < 0.05, "{novelty:?}");
        assert_eq!(novelty.to_string().parse(), Ok(novelty));
    }
}
