//! Archives the events of relays, with proof of what is complete.

mod dense;
mod habits;
mod lanes;
pub mod live;
mod pager;
mod reconcile;
mod rest;
mod turn;

use std::convert::Infallible;
use std::time::Duration;

use crate::error::Result;
use brotr_core::{Covered, Gap, GapReason, Interval, IntervalSet, Method, RelayState, RelayUrl, parse_filter};
use brotr_storage::{
    Batch, CheckStore, CoverageStore, DocumentType, EventStore, LeaseStore, Relay, RelayQuery, RelayStore, StateStore,
    Task,
};
use nostr::{Event, EventBuilder, EventId, Filter};
use serde::Serialize;
use tokio::time::Instant;

use brotr_net::info::Info;
use brotr_net::{End, Purpose, Session, Verdict};
use lanes::Lanes;
pub use pager::{Bounds, Cap, Pager, Proof, SMALLEST_CAP};
pub use rest::Trouble;
use turn::Turn;

use crate::agent::{Agent, now};
use crate::config::{Profile, Synchronizer};
use crate::pulse::Pulse;
use crate::scheduler::Scheduler;
use crate::telemetry::{DiskLow, PageStored, RelaySynchronized, Telemetry};

/// Requests to one relay after which the daemon turns to other relays, and returns later.
const A_TURN: u64 = 200;

/// Seconds until a second that is too dense for a page is retried, or a span of which the relay does not return every event
/// that it names,
const DENSE_REST: i64 = 86_400;
/// and until a span out of order is retried: events that arrived during the request may be the cause.
const DISORDER_REST: i64 = 3_600;
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
pub trait Stores: CheckStore + CoverageStore + EventStore + LeaseStore + RelayStore + StateStore + 'static {}
impl<T: CheckStore + CoverageStore + EventStore + LeaseStore + RelayStore + StateStore + 'static + ?Sized> Stores
    for T
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
            agent.archive.claim(Task::Sync, &query, agent.lease()).await
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

/// Runs one turn at a relay that is due.
async fn turn(agent: &Agent<impl Stores + ?Sized>, lanes: &Lanes, relay: &Relay) -> Result<()> {
    let Ok(address) = RelayUrl::parse(&relay.url, agent.dialer.guard()) else {
        return Ok(agent.archive.set_sync_due(&relay.url, i64::MAX).await?);
    };
    let settings = agent.config.synchronizer.of(address.as_str(), address.host());
    if !settings.enabled {
        return Ok(agent.archive.set_sync_due(&relay.url, now() + settings.interval.as_secs()).await?);
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
    match Session::open(&agent.dialer, address, Purpose::Visit).await {
        Err(error) => {
            pass.error = Some(error.to_string());
            pass.trouble = Trouble::of_dial(agent, address, &error);
        }
        Ok(mut session) => {
            if let Some(idle) = settings.request_timeout {
                session.set_idle(idle.get());
            }
            pass.turn = Turn::new(most, session.idle());
            walk(agent, address, (&mut session, &settings), &mut pass, progress).await?;
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

async fn walk(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    (session, config): (&mut Session, &Synchronizer),
    pass: &mut Pass,
    progress: impl Fn(&Pass) + Send + Sync,
) -> Result<()> {
    // The current second is not over.
    let since = config.since.0.max(agent.config.retention.floor(now()));
    let Some(window) = Interval::new(since, now() - 1) else { return Ok(()) };
    let mut bounds = habits::bounds(agent, address).await?;
    let info = info(agent, address).await?;
    let offered = max_limit(info.as_ref());
    let cap = habits::cap(agent, address).await?;
    let page_size = [offered, cap].into_iter().flatten().fold(config.page_size, usize::min);
    let nips = info.as_ref().map(|info| info.nips().contains(&77));
    let mut compares = reconcile::is_promising(agent, address, config.negentropy && nips != Some(false)).await?;
    let reports = agent.archive.coverage(Some(address.as_str())).await?;
    for filter in &config.filters {
        let filter = parse_filter(filter)?;
        let key = serde_json::to_string(&filter)?;
        let report = reports.iter().find(|report| report.filter == key);
        // A second that is too dense for a page is not retried at once: the result would be the same. A relay that returns
        // fewer events than any known cap could never be told from a complete one. A gap in which nothing was seen is one of a
        // full margin, and is retried.
        let tiny = |gap: &Gap| gap.count.is_some_and(|n| (1..SMALLEST_CAP as i64).contains(&n));
        let rests = |gap: &&Gap| match gap.reason {
            GapReason::DenseSecond => gap.tried_at + DENSE_REST > now() || tiny(gap),
            GapReason::NotGiven => gap.tried_at + DENSE_REST > now(),
            GapReason::Disorder => gap.tried_at + DISORDER_REST > now(),
            _ => false,
        };
        let dense = report.iter().flat_map(|r| r.gaps.iter().filter(rests)).map(|gap| gap.interval);
        let covered: IntervalSet = report.iter().flat_map(|r| &r.covered).map(|c| c.interval).chain(dense).collect();
        let mut missing = covered.missing(window);
        if compares {
            let mut left = IntervalSet::default();
            let again = reconcile::is_due_again(agent, address, &key, config.recheck.as_secs()).await?;
            // A full comparison may take several turns, and continues where the last one stopped.
            let resumed = if again { reconcile::resumed(agent, address, &key, window).await? } else { None };
            let parts = if again { vec![resumed.unwrap_or(window)] } else { missing };
            for part in parts.into_iter().rev() {
                let relay = (address, &mut *session);
                // What is compared again is not paged: then it is worth it for any number of events.
                let what = (&filter, key.as_str(), if again { 1 } else { reconcile::WORTH });
                let compared = reconcile::window(agent, relay, what, part, pass, &progress).await?;
                left.extend(compared.left.intervals().iter().copied());
                if let (true, Some(until)) = (again, compared.stopped_at) {
                    reconcile::stop_at(agent, address, &key, until).await?;
                }
                if compared.failure.is_some() || compared.stopped_at.is_some() {
                    (pass.error, pass.unfinished) = (compared.failure, compared.stopped_at.is_some());
                    return Ok(());
                }
            }
            missing = left.intervals().iter().flat_map(|part| covered.missing(*part)).collect();
            compares = reconcile::is_promising(agent, address, true).await?;
            if again && compares {
                reconcile::compared(agent, address, &key).await?;
            }
        }
        for missing in missing.into_iter().rev() {
            let mut pager = Pager::new(missing, bounds.unwrap_or(Bounds::Outside), page_size);
            let mut ended = false;
            while let Some(asked) = pager.next(&filter) {
                if pass.turn.is_over(pass.requests, session.received()) || !room(agent) {
                    (pass.unfinished, ended) = (true, true);
                    break;
                }
                let on = (&mut *session, config.auth);
                let answer = page(agent, address, on, (&mut pager, &asked, &key), pass).await?;
                let mut failure = answer.failure.or_else(|| pass.turn.hopeless());
                if let (None, Some(n)) = (&failure, answer.retry)
                    && let Err(error) = turn::recover(agent, address, session, &answer.end, n).await
                {
                    // The request that broke off stays unproven.
                    give_up(agent, address, (&mut pager, &key), &answer.end, pass).await?;
                    pass.trouble = Trouble::of_dial(agent, address, &error);
                    failure = Some(error.to_string());
                }
                if failure.is_some() {
                    (pass.error, ended) = (failure, true);
                    break;
                }
                if let (None, Some(sample)) = (bounds, answer.sample) {
                    bounds = habits::probe_bounds(agent, address, session, sample, pass).await?;
                    pager.learn(bounds.unwrap_or(Bounds::Outside));
                }
                progress(pass);
            }
            if let Some(cap) = pager.cap() {
                habits::set_cap(agent, address, cap).await?;
            }
            if ended {
                return Ok(());
            }
        }
        for second in std::mem::take(&mut pass.dense) {
            let what = (&filter, key.as_str());
            let larger = offered.filter(|offered| *offered > page_size);
            let bounds = bounds.unwrap_or(Bounds::Outside);
            if compares && reconcile::second(agent, (address, &mut *session), what, second, pass, &progress).await? {
                pass.gaps -= 1;
            } else if let Some(limit) = larger
                && dense::at_once(agent, (address, &mut *session), what, (second, bounds, limit), pass).await?
            {
                pass.gaps -= 1;
            } else if agent.config.profile == Profile::Bigbrotr {
                dense::by_kind(agent, (address, &mut *session), what, (second, bounds, page_size), pass).await?;
            }
            progress(pass);
        }
    }
    Ok(())
}

/// Returns the relay's newest information document.
async fn info(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<Option<Info>> {
    let documents = agent.archive.documents(address.as_str()).await?;
    let document = documents.into_iter().find(|document| document.kind == DocumentType::Nip11);
    Ok(document.and_then(|document| Info::parse(document.data.into_bytes()).ok()))
}

/// Returns how many events the relay's document says that it returns per request.
fn max_limit(info: Option<&Info>) -> Option<usize> {
    info.and_then(|info| info.limit("max_limit")).and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0)
}

const SERVICE: &str = "synchronizer";

/// The result of one page.
struct Answer {
    /// An event that the relay holds.
    sample: Option<(EventId, i64)>,
    /// Why the pass ends.
    failure: Option<String>,
    /// The number of consecutive failures of the page, if it is to be requested again.
    retry: Option<u32>,
    end: End,
}

/// Records what a pager has not covered as a gap, after a request that failed repeatedly.
async fn give_up(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    (pager, key): (&mut Pager, &str),
    end: &End,
    pass: &mut Pass,
) -> Result<()> {
    let Some((interval, reason, count)) = pager.give_up(end) else { return Ok(()) };
    pass.gaps += 1;
    let gap = Gap { interval, reason, count, tried_at: now() };
    let relay = Some((address.as_str().to_owned(), address.network()));
    let batch = Batch { relay, seen_at: now(), filter: key.to_owned(), gaps: vec![gap], ..Batch::default() };
    agent.archive.store(batch).await?;
    Ok(())
}

/// Requests, checks and stores one page with the coverage that it proves.
async fn page(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    (session, auth): (&mut Session, bool),
    (pager, asked, key): (&mut Pager, &Filter, &str),
    pass: &mut Pass,
) -> Result<Answer> {
    let began = Instant::now();
    let mut page = session.request(asked).await;
    let locked = matches!(&page.end, End::Closed(reason) if reason.starts_with("auth-required:"));
    if auth && locked && page.transferred == 0 && log_in(agent, address, session).await? {
        pass.requests += 1;
        page = session.request(asked).await;
    }
    pass.trouble = Trouble::of(&page.end);
    let mut checked = agent.ingest.check(address.as_str(), std::mem::take(&mut page.events)).await?;
    let sound: Vec<_> = checked.sound().collect();
    let proof = pager.take(&page, &sound);
    pass.turn.page(sound.len(), began.elapsed());
    if proof.covered.is_some() {
        pass.turn.progress();
    }
    let settled = now() - agent.config.synchronizer.settle.as_secs();
    let mut rejected = page.transferred - sound.len();
    if !page.late.is_empty() {
        page.transferred += page.late.len();
        let late = agent.ingest.check(address.as_str(), std::mem::take(&mut page.late)).await?;
        rejected += late.bad.len();
        checked.new.extend(late.new);
        checked.known.extend(late.known);
    }
    let at = now();
    let known = checked.known_ids();
    let batch = Batch {
        relay: Some((address.as_str().to_owned(), address.network())),
        seen_at: at,
        prepared: checked.new,
        known,
        filter: key.to_owned(),
        covered: proof
            .covered
            .and_then(|interval| Interval::new(interval.since, interval.until.min(settled)))
            .map(|interval| Covered { interval, method: Method::Paged, proven_at: at })
            .into_iter()
            .collect(),
        gaps: proof
            .gap
            // What is not settled yet is neither covered nor missing.
            .and_then(|(gap, reason, count)| Some((Interval::new(gap.since, gap.until.min(settled))?, reason, count)))
            .map(|(interval, reason, count)| Gap { interval, reason, count, tried_at: at })
            .into_iter()
            .collect(),
        ..Batch::default()
    };
    let gaps = batch.gaps.clone();
    let stored = agent.archive.store(batch).await?;
    pass.transferred += page.transferred as u64;
    pass.stored += stored.stored as u64;
    pass.known += stored.known as u64;
    pass.rejected += rejected as u64;
    pass.requests += 1;
    pass.gaps += gaps.len() as u64;
    let single = |gap: &&Gap| gap.reason == GapReason::DenseSecond && gap.interval.since == gap.interval.until;
    pass.dense.extend(gaps.iter().filter(single).map(|gap| gap.interval));
    PageStored { relay: address.as_str(), stored: stored.stored, known: stored.known, rejected }.emit();
    // A page out of order costs its own span, and the walk continues below it.
    let named = |gap: &&Gap| !matches!(gap.reason, GapReason::DenseSecond | GapReason::Disorder);
    let failure = match &page.end {
        _ if proof.retry.is_some() => None,
        End::Eose => gaps.first().filter(named).map(|gap| gap.reason.to_string()),
        // Either it continues in smaller pages, or there is a gap.
        End::Overflow if gaps.is_empty() => None,
        end => failure(end.clone()),
    };
    Ok(Answer { sample: sound.first().copied(), failure, retry: proof.retry, end: page.end })
}

/// Authenticates (NIP-42) if the relay has asked for it; returns true if the relay accepted.
async fn log_in(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, session: &mut Session) -> Result<bool> {
    let Some(event) = auth_event(agent, address, session.challenge())? else { return Ok(false) };
    Ok(session.authenticate(&event).await == Verdict::Accepted)
}

/// Returns the authentication event (NIP-42), if there is a challenge.
fn auth_event(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    challenge: Option<&str>,
) -> Result<Option<Event>> {
    let Some(challenge) = challenge else { return Ok(None) };
    let event = EventBuilder::auth(challenge, nostr::RelayUrl::parse(address.as_str())?);
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
