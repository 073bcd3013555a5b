//! Archives the events of relays, with proof of what is complete.

mod dense;
mod habits;
mod lanes;
pub mod live;
mod pager;
mod reconcile;
mod rest;
mod retention;
mod turn;
mod visit;
mod walk;

use std::convert::Infallible;
use std::time::Duration;

use brotr_core::{Interval, RelayState, RelayUrl};
use brotr_net::{End, Purpose, Session};
use brotr_storage::{
    CheckStore, CoverageStore, EventStore, LeaseStore, Relay, RelayQuery, RelayStore, SightingStore, StateStore, Task,
};
use nostr::{Event, EventBuilder};
use serde::Serialize;

use lanes::Lanes;
pub use pager::{Bounds, Cap, HintCheck, Pager, Proof, SMALLEST_CAP, Unproven};
pub use rest::Trouble;
use turn::Turn;
use visit::Visit;

use crate::agent::{Agent, now};
use crate::clock::timestamp;
use crate::error::Result;
use crate::manners::{self, LeftAlone};
use crate::pulse::Pulse;
use crate::scheduler::Scheduler;
use crate::telemetry::{DiskLow, RelaySynchronized, Telemetry};

/// Requests to one relay after which the daemon turns to other relays, and returns later.
const A_TURN: u64 = 200;

/// Seconds until a relay whose lane is full is tried again.
const LANE_WAIT: i64 = 15;
/// How often free disk space is checked while the disk is full.
const DISK_WAIT: Duration = Duration::from_secs(30);

/// The result of one pass over a relay.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pass {
    /// The relay.
    pub relay: String,
    /// EVENT messages received.
    pub transferred: u64,
    /// Events that were new to the archive.
    pub stored: u64,
    /// Events that were archived before.
    pub known: u64,
    /// Events that were invalid, or not requested.
    pub rejected: u64,
    /// Spans that could not be proven complete.
    pub gaps: u64,
    /// REQ, NEG-OPEN and NEG-MSG messages sent.
    pub requests: u64,
    /// Bytes of text received and sent.
    pub bytes: u64,
    /// Events known to be missing and still to be fetched, if a comparison named them.
    #[serde(skip)]
    pub expected: u64,
    /// Why the pass ended early.
    pub error: Option<String>,
    /// Seconds of which the relay returned a part.
    #[serde(skip)]
    dense: Vec<Interval>,
    /// The kind of failure behind `error`.
    #[serde(skip)]
    pub trouble: Trouble,
    /// Whether there is more to fetch at once.
    #[serde(skip)]
    pub unfinished: bool,
    /// The limits of the pass.
    #[serde(skip)]
    turn: Turn,
}

/// The stores that this service needs.
pub trait Stores:
    CheckStore + CoverageStore + EventStore + LeaseStore + RelayStore + SightingStore + StateStore + 'static
{
}
impl<T> Stores for T where
    T: CheckStore
        + CoverageStore
        + EventStore
        + LeaseStore
        + RelayStore
        + SightingStore
        + StateStore
        + 'static
        + ?Sized
{
}

/// Synchronizes relays that are due and up, forever.
pub async fn run(agent: &Agent<impl Stores + ?Sized>, pulse: &Pulse) -> Infallible {
    let lanes = Lanes::new(&agent.config.synchronizer.overrides);
    // The monitor decides which relays are up. Without it, any may be.
    let states =
        if agent.config.monitor.enabled { vec![RelayState::Up] } else { vec![RelayState::Up, RelayState::New] };
    let claim = |limit| {
        let networks = agent.dialer.networks();
        let query = RelayQuery { networks, states: states.clone(), limit, ..RelayQuery::default() };
        async move {
            if !room(agent) {
                tokio::time::sleep(DISK_WAIT).await;
                return Ok(Vec::new());
            }
            agent.archive.claim(Task::Sync, &query, now(), agent.lease()).await
        }
    };
    let work = |relay: Relay| {
        let (agent, lanes) = (agent.clone(), lanes.clone());
        async move {
            tokio::select! {
                ended = turn(&agent, &lanes, &relay) => ended,
                ended = hold(&agent, &relay.url) => ended,
            }
        }
    };
    let concurrency = agent.config.synchronizer.concurrency;
    Scheduler { agent, task: Task::Sync, concurrency, pulse }.run(claim, work).await
}

/// Renews the lease of a relay in work, until another agent holds it.
async fn hold(agent: &Agent<impl Stores + ?Sized>, url: &str) -> Result<()> {
    let lease = agent.lease();
    loop {
        tokio::time::sleep(Duration::from_secs(lease.seconds.unsigned_abs().div_ceil(3))).await;
        match agent.archive.renew(Task::Sync, url, lease).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(relay = url, "another agent has taken over a relay that was in work here");
                return Ok(());
            }
            // There are two more tries before the lease expires.
            Err(error) => tracing::warn!(%error, relay = url, "failed to renew the lease of a relay"),
        }
    }
}

/// Returns why a relay is not to be read. The monitor asks before each check; without one, it is asked here.
async fn objection(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    state: RelayState,
) -> Result<Option<LeftAlone>> {
    // A relay may have been listed after its last check.
    let is_listed = agent.config.network.avoids(address.as_str(), address.host());
    if agent.config.monitor.enabled && !is_listed {
        return Ok(None);
    }
    Ok(manners::objection(agent, address, state).await?)
}

/// Runs one turn at a relay that is due.
async fn turn(agent: &Agent<impl Stores + ?Sized>, lanes: &Lanes, relay: &Relay) -> Result<()> {
    let Ok(address) = RelayUrl::parse(&relay.url, agent.dialer.guard()) else {
        return Ok(agent.archive.set_sync_due(&relay.url, i64::MAX).await?);
    };
    let settings = agent.config.synchronizer.of(address.as_str(), address.host());
    if !settings.enabled {
        return Ok(agent.archive.set_sync_due(&relay.url, now() + settings.interval.as_secs()).await?);
    }
    if let Some(LeftAlone { objection, wait }) = objection(agent, &address, relay.state).await? {
        tracing::debug!(relay = relay.url, %objection, "left a relay alone");
        return Ok(agent.archive.set_sync_due(&relay.url, now() + wait).await?);
    }
    let Some(_lane) = lanes.enter(&address) else {
        return Ok(agent.archive.set_sync_due(&relay.url, now() + LANE_WAIT).await?);
    };
    pass(agent, &address, Some(A_TURN), |_| ()).await?;
    Ok(())
}

/// Runs one pass over one relay: what is missing, newest first, up to `most` requests. Calls `progress` after each page.
///
/// # Errors
/// Fails if the archive cannot be used; a failure of the relay is in the result.
pub async fn pass(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    most: Option<u64>,
    progress: impl Fn(&Pass) + Send + Sync,
) -> Result<Pass> {
    let mut pass = Pass { relay: address.as_str().to_owned(), ..Pass::default() };
    let settings = agent.config.synchronizer.of(address.as_str(), address.host());
    let opened = match Session::join(&agent.dialer, address, settings.auth).await {
        Some(session) => Ok(session),
        None => Session::open(&agent.dialer, address, Purpose::Visit).await,
    };
    match opened {
        Err(error) => {
            pass.error = Some(error.to_string());
            pass.trouble = Trouble::of_dial(agent, address, &error);
        }
        Ok(mut session) => {
            if let Some(idle) = settings.request_timeout {
                session.set_idle(idle.get());
            }
            pass.turn = Turn::new(most, session.idle());
            let before = retention::authors(agent, address).await?;
            let mut visit = Visit {
                agent,
                address,
                settings: &settings,
                session: &mut session,
                pass: &mut pass,
                authors: before.clone(),
                progress: &progress,
            };
            visit.walk().await?;
            visit.retention(&before).await?;
            pass.bytes = session.received() + session.sent();
            session.close().await;
        }
    }
    let interval = settings.interval.as_secs();
    let due = match (&pass.error, pass.unfinished) {
        (Some(_), _) => now() + rest::after(agent, address, pass.trouble).await?.max(interval),
        (None, true) => now(),
        (None, false) => now() + interval,
    };
    if pass.error.is_none() {
        rest::over(agent, address).await?;
    }
    agent.archive.set_sync_due(address.as_str(), due).await?;
    RelaySynchronized {
        relay: &pass.relay,
        transferred: pass.transferred,
        stored: pass.stored,
        gaps: pass.gaps,
        requests: pass.requests,
        error: pass.error.as_deref(),
    }
    .emit();
    Ok(pass)
}

/// Returns the authentication event (NIP-42), if there is a challenge.
fn auth_event(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    challenge: Option<&str>,
) -> Result<Option<Event>> {
    let Some(challenge) = challenge else { return Ok(None) };
    let event = EventBuilder::auth(challenge, nostr::RelayUrl::parse(address.as_str())?).custom_created_at(timestamp());
    Ok(Some(agent.signer.sign(event)?))
}

/// Describes the failure of a request.
fn failure(end: End) -> Option<String> {
    match end {
        End::Eose => None,
        End::Closed(reason) => Some(format!("CLOSED: {reason}")),
        End::Notice(text) => Some(format!("NOTICE: {text}")),
        End::Timeout => Some("no answer in time".into()),
        End::Disconnect(reason) => Some(format!("disconnected: {reason}")),
        End::Overflow => Some("it sends far more than is asked for".to_owned()),
    }
}

/// Waits until the disk has enough free space.
async fn wait_for_room(agent: &Agent<impl Stores + ?Sized>) {
    while !room(agent) {
        tokio::time::sleep(DISK_WAIT).await;
    }
}

/// Returns true if the disk of an embedded archive has enough free space.
fn room(agent: &Agent<impl Stores + ?Sized>) -> bool {
    let floor = agent.config.storage.min_free.as_u64();
    let free = agent.archive_directory().and_then(crate::disk::free_bytes);
    match free {
        Some(free) if free < floor => {
            DiskLow { free, min_free: floor }.emit();
            false
        }
        _ => true,
    }
}
