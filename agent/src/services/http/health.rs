//! Health and metrics.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use brotr_net::{Tor, TorStatus};
use serde_json::{Value, json};

use super::AppState;

/// Time limit of a probe of the archive.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers 200 while the archive answers and every service runs; `degraded` while a service waits to be restarted or makes no
/// progress, Tor cannot be started, or no relay of a network answers; 503 when the archive does not answer.
pub(super) async fn healthz(State(state): State<AppState>) -> impl IntoResponse {
    let health = examine(&state).await;
    let code = if health["archive"].is_null() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health))
}

/// Returns the state of the archive, the services and Tor.
pub(super) async fn examine(state: &AppState) -> Value {
    let archive = answers(state).await;
    let services = state.vitals.services();
    let tor = state.agent.dialer.tor().map(Tor::status);
    let (stalled, outage) = (state.vitals.stalled(), state.agent.outage.trouble());
    let ailing = services.values().any(Option::is_some)
        || !stalled.is_empty()
        || outage.is_some()
        || matches!(tor, Some(TorStatus::Failed(_)));
    let status = match (&archive, ailing) {
        (Err(_), _) => "down",
        (Ok(()), true) => "degraded",
        (Ok(()), false) => "up",
    };
    let services: serde_json::Map<_, _> = services
        .into_iter()
        .map(|(name, trouble)| {
            let paused = state.vitals.is_paused(name);
            let idle = stalled.get(name);
            let status = match (&trouble, idle) {
                _ if paused => "paused",
                (Some(_), _) => "restarting",
                (None, Some(_)) => "stalled",
                (None, None) => "up",
            };
            let idle = idle.map(|idle| format!("it has work under way and finished none for {} s", idle.as_secs()));
            (name.to_owned(), json!({"status": status, "error": trouble.or(idle)}))
        })
        .collect();
    let tor = tor.map(|status| status.to_string());
    json!({"status": status, "archive": archive.err(), "services": services, "tor": tor, "network": outage})
}

pub(super) async fn readyz(State(state): State<AppState>) -> impl IntoResponse {
    match answers(&state).await {
        Ok(()) => (StatusCode::OK, Json(json!({"ready": true}))),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "archive": error}))),
    }
}

async fn answers(state: &AppState) -> Result<(), &'static str> {
    match tokio::time::timeout(PROBE_TIMEOUT, state.agent.archive.ping()).await {
        Ok(Ok(())) => Ok(()),
        // Errors of the driver may name hosts and users.
        Ok(Err(_)) => Err("the archive refuses"),
        Err(_) => Err("the archive does not answer"),
    }
}

pub(super) async fn render(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}
