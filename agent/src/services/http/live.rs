//! Live statistics: numbers every two seconds, and jobs as they change.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Result;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use brotr_net::TorStatus;
use futures::Stream;
use metrics::gauge;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, watch};

use super::access::Problem;
use super::samples::{Sample, Samples};
use super::{AppState, health};
use crate::agent::now;
use crate::disk::free_bytes;
use crate::telemetry;

/// Sampling interval while somebody is connected, and while nobody is.
const WATCHED: Duration = Duration::from_secs(2);
const UNWATCHED: Duration = Duration::from_secs(15);
/// Interval at which the list of relays is read while somebody is connected.
const REFRESH_WATCHED: Duration = Duration::from_secs(4);
/// Concurrent streams, in total and per address.
const WATCHERS: usize = 64;
const OF_ONE: usize = 16;

/// What every stream is sent.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    numbers: Arc<watch::Sender<Value>>,
    samples: Arc<Samples>,
    places: Arc<Places>,
    /// Notified when a stream is opened.
    opened: Arc<Notify>,
}

/// Open streams by address.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    /// Takes a place for an address, if there is one.
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (taken.values().sum::<usize>(), taken.get(&address).copied().unwrap_or_default());
        if all >= WATCHERS || own >= OF_ONE {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Place { places: self.clone(), address })
    }
}

/// A place, released on drop.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        let numbers = Arc::new(watch::Sender::new(Value::Null));
        Self { numbers, samples: Arc::default(), places: Arc::default(), opened: Arc::default() }
    }
}

impl Live {
    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Waits for `watched` while a stream is open, else for longer, or until one is opened.
    async fn wait(&self, watched: Duration) {
        if self.numbers.receiver_count() > 0 {
            return tokio::time::sleep(watched).await;
        }
        let _ = tokio::time::timeout(UNWATCHED, self.opened.notified()).await;
    }
}

/// Samples the numbers of the dashboard and the gauges, and keeps some samples as history. Runs until it fails.
///
/// # Errors
/// Never; a failed query is repeated with the next sample.
pub(super) async fn sample(state: AppState) -> Result<()> {
    // Nothing is stored before what is there was read: it would be replaced.
    while let Err(error) = state.live.samples.load(state.states.as_ref()).await {
        tracing::debug!(%error, "failed to read the samples");
        tokio::time::sleep(WATCHED).await;
    }
    loop {
        if let Err(error) = look(&state).await {
            tracing::debug!(%error, "failed to look at the archive");
        }
        state.access.tidy();
        state.live.wait(WATCHED).await;
    }
}

/// Keeps the catalog of relays current. Runs forever.
///
/// # Errors
/// Never; a failed query is repeated with the next refresh.
pub(super) async fn refresh(state: AppState) -> Result<()> {
    loop {
        if let Err(error) = state.catalog.refresh(state.relays.as_ref(), state.checks.as_ref()).await {
            tracing::debug!(%error, "failed to read the relays");
        }
        state.live.wait(REFRESH_WATCHED).await;
    }
}

async fn look(state: &AppState) -> Result<()> {
    let stats = state.agent.archive.stats().await?;
    let progress = state.coverage.progress(now()).await?;
    let sample = Sample::new(now(), &stats, &progress, resident_bytes());
    gauges(&stats, &progress);
    #[expect(clippy::cast_precision_loss, reason = "a disk's bytes to within a few thousand")]
    if let Some(free) = state.agent.archive_directory().and_then(free_bytes) {
        gauge!("brotr_disk_free_bytes").set(free as f64);
    }
    if let Some(tor) = state.agent.dialer.tor() {
        gauge!("brotr_tor_up").set(f64::from(u8::from(matches!(tor.status(), TorStatus::Ready))));
    }
    let numbers = json!({"at": sample.at, "stats": stats, "lag": sample.lag, "gaps": sample.gaps,
        "covered": progress.relays, "health": health::examine(state).await});
    state.live.numbers.send_replace(numbers);
    state.live.samples.add(state.states.as_ref(), &sample).await?;
    Ok(())
}

/// Sets the gauges of sums that several agents change, as read from the database.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and these are far from its limits")]
fn gauges(stats: &brotr_storage::Stats, progress: &brotr_storage::Progress) {
    gauge!("brotr_archive_events").set(stats.events as f64);
    gauge!("brotr_archive_sightings").set(stats.sightings as f64);
    gauge!("brotr_archive_pubkeys").set(stats.pubkeys as f64);
    gauge!("brotr_archive_bytes").set(stats.disk_bytes as f64);
    gauge!("brotr_outbox_waiting").set(stats.outbox as f64);
    for state in brotr_core::RelayState::ALL {
        let n = stats.relays.get(state.as_str()).copied().unwrap_or_default();
        gauge!("brotr_relays", "state" => state.as_str()).set(n as f64);
    }
    for status in brotr_storage::JobStatus::ALL {
        let n = stats.jobs.get(status.as_str()).copied().unwrap_or_default();
        gauge!("brotr_jobs", "status" => status.as_str()).set(n as f64);
    }
    gauge!("brotr_coverage_relays").set(progress.relays as f64);
    gauge!("brotr_coverage_gaps").set(progress.gaps as f64);
    if let Some(lag) = progress.lag {
        gauge!("brotr_coverage_lag_seconds").set(lag as f64);
    }
    if let Some(bytes) = resident_bytes() {
        gauge!("brotr_process_resident_bytes").set(bytes as f64);
    }
}

/// Returns the resident memory of this process, if the system reports it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = status.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Server-sent events: `numbers`, and a `job` for each change of one.
pub(super) async fn stream(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let full = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many streams are open: try again later");
    let place = state.live.places.take(state.access.client(peer, &headers).address).ok_or_else(full)?;
    let (mut numbers, jobs) = (state.live.numbers.subscribe(), telemetry::watch_jobs());
    numbers.mark_changed();
    state.live.opened.notify_waiters();
    let events = futures::stream::unfold((numbers, jobs, place), |(mut numbers, mut jobs, place)| async move {
        let event = loop {
            tokio::select! {
                changed = numbers.changed() => {
                    changed.ok()?;
                    let now = numbers.borrow_and_update().clone();
                    if !now.is_null() {
                        break Event::default().event("numbers").data(now.to_string());
                    }
                }
                message = jobs.recv() => match message {
                    Ok(message) => break Event::default().event("job").data(message),
                    // A slow reader misses some.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        };
        Some((Ok(event), (numbers, jobs, place)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
