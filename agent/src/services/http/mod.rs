//! The HTTP server: health, metrics, REST, and the dashboard.

mod access;
mod api;
mod health;
mod live;
mod page;
mod samples;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::error::{Error, Result};
use axum::Router;
use axum::middleware;
use axum::routing::get;
use brotr_storage::{CheckStore, CoverageStore, EventStore, JobStore, RelayStore, SightingStore, StateStore};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::agent::{Agent, now};
use crate::catalog::Catalog;
use crate::inbound::{self, Limits};
use crate::supervisor::Vitals;
use live::Live;

/// Buckets of histograms of durations, in seconds.
const BUCKETS: [f64; 7] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0];

/// The state that every handler shares.
#[derive(Clone)]
pub(crate) struct AppState {
    agent: Agent<dyn EventStore>,
    relays: Arc<dyn RelayStore>,
    checks: Arc<dyn CheckStore>,
    coverage: Arc<dyn CoverageStore>,
    jobs: Arc<dyn JobStore>,
    sightings: Arc<dyn SightingStore>,
    states: Arc<dyn StateStore>,
    vitals: Vitals,
    metrics: PrometheusHandle,
    access: Arc<access::Access>,
    live: Live,
    catalog: Arc<Catalog>,
    /// When the server started, in unix seconds.
    started_at: i64,
}

/// Installs the metrics recorder. Once per process.
///
/// # Errors
/// Fails if a recorder is installed already.
pub fn record() -> Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS)?;
    let handle = builder.install_recorder()?;
    crate::telemetry::describe();
    Ok(handle)
}

/// Binds the port.
///
/// # Errors
/// Fails if the port is in use or not permitted.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| Error::Listen { address, key: "http", error })
}

/// Serves on a bound port until the future is dropped, which closes every connection.
///
/// # Errors
/// Fails if the socket fails.
pub async fn serve(
    agent: Agent,
    vitals: Vitals,
    metrics: PrometheusHandle,
    listener: std::net::TcpListener,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let config = &agent.config.http;
    let limits = Limits {
        connections: inbound::affordable(config.max_connections, &agent.config),
        per_address: config.max_per_address,
        proxies: config.trusted_proxies.clone(),
    };
    let access = Arc::new(access::Access::new(&agent, listener.local_addr()?)?);
    let state = AppState {
        agent: agent.with::<dyn EventStore>(agent.archive.clone()),
        relays: agent.archive.clone(),
        checks: agent.archive.clone(),
        coverage: agent.archive.clone(),
        jobs: agent.archive.clone(),
        sightings: agent.archive.clone(),
        states: agent.archive.clone(),
        vitals,
        metrics,
        access,
        live: Live::default(),
        catalog: Arc::new(Catalog::new(api::LISTED_DAYS.into())),
        started_at: now(),
    };
    let limit = || middleware::from_fn_with_state(state.clone(), access::limit);
    // Without an ETag: it never ends.
    let live = Router::new().route("/api/v1/live", get(live::stream)).route_layer(limit());
    let public = Router::new().merge(api::routes()).merge(page::routes());
    let router = public
        .route_layer(limit())
        .layer(middleware::from_fn_with_state(state.clone(), access::tag))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::render))
        .merge(live)
        .fallback(access::nothing_here)
        .layer(middleware::from_fn_with_state(state.clone(), access::harden))
        .with_state(state.clone());
    // Apart from the connections: neither waits for the other.
    let mut work = JoinSet::new();
    work.spawn(live::sample(state.clone()));
    work.spawn(live::refresh(state));
    tokio::select! {
        ended = inbound::serve(&listener, limits, router) => ended,
        Some(ended) = work.join_next() => ended.map_err(std::io::Error::other)?,
    }
}
