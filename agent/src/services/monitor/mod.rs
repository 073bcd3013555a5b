//! Checks relays on schedule, records the results, and publishes them (NIP-66).

mod check;
mod confirm;
mod health;
pub mod nip66;
mod place;
mod probe;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use brotr_core::{RelayState, RelayUrl};
use brotr_net::info::Info;
use brotr_storage::{
    Aftermath, Archive, CheckRecord, CheckStore, CoverageStore, DocumentType, EventStore, LeaseStore, OutboxStore,
    Relay, RelayQuery, RelayStore, StateStore, Task,
};
use nostr::{EventBuilder, Tag};
use tokio::sync::Mutex;

pub use check::{Plan, WriteTest, check};
pub use health::{Health, Outcome, Requirement};
pub use nip66::announcement;
pub use place::{Place, Places};
pub use probe::{Probe, Probes};

use crate::agent::{Agent, now};
use crate::manners::{self, LeftAlone};
use crate::outbox::Publisher;
use crate::pulse::Pulse;
use crate::relay_retention::RETENTION;
use crate::scheduler::Scheduler;
use crate::state::{Json, OPTED_OUT, State};
use crate::telemetry::{ChecksRemoved, RelayChanged, RelayChecked, RelayOptedOut, Telemetry};

/// When the last 30166 of a relay was published, by its URL, in unix seconds.
const PUBLISHED_AT: State<i64> = State::new("monitor", "published at");
/// When every relay had been checked once, in unix seconds.
const WARM_SINCE: State<i64> = State::new("monitor", "warm since");
/// Seconds until a relay is checked again that could not be tried for a reason of our own, unless the interval is shorter.
const OURS_WAIT: i64 = 900;
/// Backoff after a failed query of the archive.
const RETRY: std::time::Duration = std::time::Duration::from_secs(10);
const TIDY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// The stores that this service needs.
pub trait Stores:
    CheckStore + CoverageStore + EventStore + LeaseStore + OutboxStore + RelayStore + StateStore + 'static
{
}
impl<T> Stores for T where
    T: CheckStore + CoverageStore + EventStore + LeaseStore + OutboxStore + RelayStore + StateStore + 'static + ?Sized
{
}

/// Checks relays.
pub struct Monitor<A: ?Sized = dyn Archive> {
    agent: Agent<A>,
    publisher: Publisher,
    plan: Plan,
    /// Whether results are published: not before every relay was checked once.
    warm: Arc<AtomicBool>,
    /// Held by the one task that asks other relays whether our own network works.
    asking: Arc<Mutex<()>>,
}

impl<A: ?Sized> Clone for Monitor<A> {
    fn clone(&self) -> Self {
        Self {
            agent: self.agent.clone(),
            publisher: self.publisher.clone(),
            plan: self.plan.clone(),
            warm: self.warm.clone(),
            asking: self.asking.clone(),
        }
    }
}

impl<A: Stores + ?Sized> Monitor<A> {
    /// Returns a monitor.
    ///
    /// # Errors
    /// Fails if the archive cannot be used.
    pub async fn new(agent: &Agent<A>, publisher: &Publisher) -> Result<Self> {
        let config = &agent.config.monitor;
        // Without relays of our own, nothing of ours is sent anywhere.
        let write = if agent.own_relays().is_empty() { WriteTest::Skip } else { WriteTest::As(agent.signer.clone()) };
        let places = Arc::new(Places::new(&config.geo));
        let plan = Plan { checks: config.checks.clone(), write, max_pow: config.max_pow, places };
        let warm = !config.warm_up || WARM_SINCE.get(agent.archive.as_ref(), "").await?.is_some();
        let (agent, publisher) = (agent.clone(), publisher.clone());
        Ok(Self { agent, publisher, plan, warm: Arc::new(AtomicBool::new(warm)), asking: Arc::default() })
    }

    /// Checks one relay, records the result, and publishes it if the relay answered.
    ///
    /// # Errors
    /// Fails if the archive cannot be used; a failure of the relay is in the result.
    pub async fn visit(&self, relay: &Relay) -> Result<Option<Health>> {
        let agent = &self.agent;
        let Ok(address) = RelayUrl::parse(&relay.url, agent.dialer.guard()) else {
            // It was added under another network.allow.
            let record = CheckRecord { at: now(), due_at: now() + schedule::LONGEST_WAIT, ..CheckRecord::default() };
            agent.archive.record_check(&relay.url, relay.network, &record).await?;
            return Ok(None);
        };
        let at = now();
        if let Some(left_alone) = manners::objection(agent, &address, relay.state).await? {
            self.leave_alone(relay, left_alone, at).await?;
            return Ok(None);
        }
        let mut health = check(&agent.dialer, &address, &self.plan).await;
        let interval = agent.config.monitor.interval.as_secs();
        let mut wait = OURS_WAIT.min(interval);
        if let Some(at) = health.answered_at {
            agent.outage.answered(relay.network, address.host(), at);
        }
        if let Some(silent) = health.silent.clone()
            && self.is_ours(relay, &address, silent).await?
        {
            (health.is_ours, wait) = (true, schedule::at_once(interval));
        }
        let outcome = match health.up {
            true => "up",
            false if health.is_ours => "unknown",
            false => "down",
        };
        let failure = health.failure.as_deref();
        RelayChecked { relay: &health.url, outcome, reason: health.reason(), failure }.emit();
        if health.is_ours {
            agent.archive.set_check_due(&relay.url, now() + wait).await?;
            agent.archive.release(Task::Check, Some(&relay.url), agent.holder).await?;
            return Ok(Some(health));
        }
        let state = match health.up {
            false => RelayState::Down,
            true if self.is_alias(&address, &health).await? => RelayState::Alias,
            true => RelayState::Up,
        };
        let is_known = !matches!(relay.state, RelayState::New | RelayState::OptedOut);
        if is_known && (relay.state == RelayState::Down) == health.up {
            RelayChanged { relay: &health.url, up: health.up, reason: health.reason() }.emit();
        }
        let warm = self.warm.load(Ordering::Relaxed);
        let dice = fastrand::f64();
        let wait = match state {
            RelayState::Alias => schedule::LONGEST_WAIT.max(interval),
            RelayState::Down => schedule::wait(interval, relay.failures + 1, dice),
            _ if warm => schedule::wait(interval, 0, dice),
            _ => schedule::spread(interval, dice),
        };
        let record = CheckRecord {
            at,
            state,
            due_at: at + wait,
            nip11: health.info.as_ref().map(|info| info.text.clone()),
            nip66: health.facts().to_string(),
            rtt_ms: health.rtt_ms(),
            dns_ttl: health.trace.lookup.as_ref().map(|lookup| i64::from(lookup.ttl)),
            aftermath: match warm && agent.config.monitor.publish && !self.publisher.is_silent() {
                false => Aftermath::default(),
                true => match state {
                    RelayState::Up => {
                        let retention = RETENTION.get(agent.archive.as_ref(), address.as_str()).await?;
                        let measured = retention.map(|Json(retention)| retention.tags(at)).unwrap_or_default();
                        let event = nip66::discovery(&health, at)
                            .tags(measured.into_iter().filter_map(|tag| Tag::parse(tag).ok()));
                        self.publication(event, address.as_str(), at)?
                    }
                    RelayState::Alias => self.withdrawal(address.as_str(), i64::MAX).await?,
                    _ => self.withdrawal(address.as_str(), at - self.dark()).await?,
                },
            },
        };
        agent.archive.record_check(&relay.url, relay.network, &record).await?;
        self.publisher.wake();
        Ok(Some(health))
    }

    /// Records that a relay is left alone, and withdraws what was published of it.
    async fn leave_alone(&self, relay: &Relay, LeftAlone { objection, wait }: LeftAlone, at: i64) -> Result<()> {
        let mut aftermath = match self.agent.config.monitor.publish && !self.publisher.is_silent() {
            true => self.withdrawal(&relay.url, i64::MAX).await?,
            false => Aftermath::default(),
        };
        aftermath.states.push(OPTED_OUT.entry(&relay.url, &objection));
        let (state, due_at) = (RelayState::OptedOut, at + wait);
        let record = CheckRecord { at, due_at, state, aftermath, ..CheckRecord::default() };
        self.agent.archive.record_check(&relay.url, relay.network, &record).await?;
        self.publisher.wake();
        if relay.state != RelayState::OptedOut {
            RelayOptedOut { relay: &relay.url, reason: &objection.reason() }.emit();
        }
        Ok(())
    }

    /// Returns the seconds after which the results of an unreachable relay are withdrawn.
    fn dark(&self) -> i64 {
        self.agent.config.monitor.withdraw_after.as_secs()
    }

    /// Returns true if this is another URL of the relay at its host's root: both have the same document. Operators of separate
    /// relays on paths give each its own.
    async fn is_alias(&self, address: &RelayUrl, health: &Health) -> Result<bool> {
        let agent = &self.agent;
        let (Some(info), Some(root)) = (&health.info, address.root(agent.dialer.guard())) else { return Ok(false) };
        if agent.config.monitor.is_distinct(address.host()) {
            return Ok(false);
        }
        let Some(known) = agent.archive.relay(root.as_str()).await? else { return Ok(false) };
        if !matches!(known.state, RelayState::Up | RelayState::OptedOut) {
            return Ok(false);
        }
        let documents = agent.archive.documents(root.as_str()).await?;
        let theirs = documents.into_iter().find(|document| document.kind == DocumentType::Nip11);
        Ok(theirs
            .and_then(|document| Info::parse(document.data.into_bytes()).ok())
            .is_some_and(|root| root.is_same(info)))
    }

    /// Returns an outbox entry for an event about a relay, with the time at which the relay counts as published: 0 once it is
    /// withdrawn.
    fn publication(&self, event: EventBuilder, url: &str, published_at: i64) -> Result<Aftermath> {
        let event = self.agent.signer.sign(event)?;
        let state = PUBLISHED_AT.entry(url, &published_at);
        Ok(Aftermath { outgoing: self.publisher.outgoing(&event), states: vec![state] })
    }

    /// Returns the withdrawal (NIP-09) of the last published result of a relay, if it is older than `before`.
    async fn withdrawal(&self, url: &str, before: i64) -> Result<Aftermath> {
        let published = PUBLISHED_AT.get(self.agent.archive.as_ref(), url).await?;
        let Some(at) = published.filter(|at| *at != 0 && *at < before) else {
            return Ok(Aftermath::default());
        };
        tracing::info!(relay = url, published_at = at, "withdrawing its 30166");
        self.publication(nip66::withdrawal(self.agent.signer.public_key(), url), url, 0)
    }

    /// Ends the warm-up if every relay was checked once. An archive without any checked relay waits for its seeds.
    ///
    /// # Errors
    /// Fails if the archive cannot be used.
    pub async fn warm_up(&self) -> Result<()> {
        if self.warm.load(Ordering::Relaxed) {
            return Ok(());
        }
        let any = async |states: &[RelayState]| {
            let networks = self.agent.dialer.networks();
            let query = RelayQuery { networks, states: states.to_vec(), limit: 1, ..RelayQuery::default() };
            Ok::<_, Error>(!self.agent.archive.relays(&query).await?.is_empty())
        };
        let checked = [RelayState::Up, RelayState::Down, RelayState::Alias, RelayState::OptedOut];
        if !any(&[RelayState::New]).await? && any(&checked).await? {
            WARM_SINCE.set(self.agent.archive.as_ref(), "", &now()).await?;
            self.warm.store(true, Ordering::Relaxed);
            let publishes = self.agent.config.monitor.publish && !self.publisher.is_silent();
            let then = if publishes { ": from now on what is found is published" } else { "" };
            tracing::info!("every relay was checked once{then}");
        }
        Ok(())
    }

    /// Removes old history, and withdraws results of relays that are unreachable and not checked any more.
    async fn tidy(&self) -> Result<()> {
        if let Some(history) = self.agent.config.monitor.history {
            let gone = self.agent.archive.forget_visits(now() - history.as_secs()).await?;
            ChecksRemoved { removed: gone }.emit();
        }
        let is_out = self.agent.outage.trouble().is_some();
        if self.agent.config.monitor.publish && !self.publisher.is_silent() && !is_out {
            let before = now() - self.dark();
            for url in PUBLISHED_AT.all(self.agent.archive.as_ref()).await?.into_keys() {
                // A relay that was up at its last check is checked again first: the agent may have been stopped meanwhile.
                let relay = self.agent.archive.relay(&url).await?;
                if relay.is_none_or(|relay| relay.state != RelayState::Up) {
                    let withdrawal = self.withdrawal(&url, before).await?;
                    self.agent.archive.enqueue_with_state(&withdrawal, now()).await?;
                }
            }
            self.publisher.wake();
        }
        Ok(())
    }
}

/// Checks relays that are due. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn run(agent: Agent<impl Stores + ?Sized>, publisher: Publisher, pulse: Pulse) -> Result<()> {
    let monitor = Monitor::new(&agent, &publisher).await?;
    let due = |limit| {
        let mut networks = agent.dialer.networks();
        networks.retain(|network| !agent.outage.is_out(*network));
        let query = RelayQuery { networks, limit, ..RelayQuery::default() };
        let (archive, lease) = (agent.archive.clone(), agent.lease());
        async move {
            // During an outage nothing is checked; an empty list would stand for every network.
            if query.networks.is_empty() { Ok(vec![]) } else { archive.claim(Task::Check, &query, now(), lease).await }
        }
    };
    let work = |relay: Relay| {
        let monitor = monitor.clone();
        async move {
            monitor.visit(&relay).await?;
            Ok(())
        }
    };
    let tidy = async {
        loop {
            match monitor.tidy().await {
                Ok(()) => tokio::time::sleep(TIDY).await,
                Err(error) => later("tidy up", &error).await,
            }
        }
    };
    let warm = async {
        loop {
            match monitor.warm_up().await {
                Ok(()) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
                Err(error) => later("look whether every relay was checked", &error).await,
            }
        }
    };
    let scheduler =
        Scheduler { agent: &agent, task: Task::Check, concurrency: agent.config.monitor.concurrency, pulse: &pulse };
    tokio::select! {
        never = scheduler.run(due, work) => match never {},
        never = tidy => never,
        never = warm => never,
        never = monitor.watch_outage() => never,
    }
}

/// Waits before a failed query is repeated. Checks in progress continue.
async fn later(what: &str, error: &Error) {
    tracing::warn!(%error, "failed to {what}, trying again in {} s", RETRY.as_secs());
    tokio::time::sleep(RETRY).await;
}
