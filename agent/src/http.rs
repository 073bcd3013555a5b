//! Health and metrics over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::net::{Tor, TorStatus};
use crate::supervisor::Vitals;

/// The archive has so long to answer a probe.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct House {
    agent: Agent,
    vitals: Vitals,
    metrics: PrometheusHandle,
}

/// Starts counting. Once a process.
///
/// # Errors
/// When something counts already.
pub fn record() -> Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("failed to install the metrics recorder")
}

/// Takes the port.
///
/// # Errors
/// When it is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}: set http.listen to another, or http.enabled to false"))
}

/// For ever: serves on a port taken before.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    agent: Agent,
    vitals: Vitals,
    metrics: PrometheusHandle,
    listener: std::net::TcpListener,
) -> Result<()> {
    let house = House { agent, vitals, metrics };
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(house);
    axum::serve(TcpListener::from_std(listener)?, router).await.context("the HTTP server failed")
}

/// 200 while the archive answers and every service runs, `degraded` while a service waits to be started again or Tor cannot be; 503
/// when the archive does not answer.
async fn healthz(State(house): State<House>) -> impl IntoResponse {
    let archive = answers(&house).await;
    let services = house.vitals.services();
    let tor = house.agent.dialer.tor().map(Tor::status);
    let ailing = services.values().any(Option::is_some) || matches!(tor, Some(TorStatus::Failed(_)));
    let status = match (&archive, ailing) {
        (Err(_), _) => "down",
        (Ok(()), true) => "degraded",
        (Ok(()), false) => "up",
    };
    let code = if archive.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let services: serde_json::Map<_, _> = services
        .into_iter()
        .map(|(name, trouble)| {
            (name.to_owned(), json!({"status": if trouble.is_some() { "restarting" } else { "up" }, "error": trouble}))
        })
        .collect();
    let tor = tor.map(|status| status.to_string());
    (code, Json(json!({"status": status, "archive": archive.err(), "services": services, "tor": tor})))
}

async fn readyz(State(house): State<House>) -> impl IntoResponse {
    match answers(&house).await {
        Ok(()) => (StatusCode::OK, Json(json!({"ready": true}))),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "archive": error}))),
    }
}

async fn answers(house: &House) -> Result<(), &'static str> {
    match tokio::time::timeout(PATIENCE, house.agent.archive.ping()).await {
        Ok(Ok(())) => Ok(()),
        // What the driver says may name hosts and users.
        Ok(Err(_)) => Err("the archive refuses"),
        Err(_) => Err("the archive does not answer"),
    }
}

async fn render(State(house): State<House>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], house.metrics.render())
}
