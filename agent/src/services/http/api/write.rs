//! Requests that change something; they need a token or a signature.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::address::{path_address, unknown};
use super::{Answer, AppState, Problem, run_query};
use crate::initializer;

/// Authorizes a write request.
fn admit(state: &AppState, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    state.access.may_write(method, path, headers, body)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRelays {
    /// URLs
    relays: Vec<String>,
}

/// Add relays; needs `http.token`, or a signature (NIP-98)
#[utoipa::path(post, path = "/api/v1/relays", request_body = NewRelays,
    responses((status = 200, body = Object), (status = 401, description = "Neither the token nor a signature that counts")))]
pub(super) async fn add_relays(
    State(state): State<AppState>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Value> {
    admit(&state, &method, &uri, &headers, &body)?;
    let new: NewRelays = serde_json::from_slice(&body)
        .map_err(|error| Problem::wrong(format!("the body is not as described: {error}")))?;
    let sorted = initializer::sort(&new.relays.join("\n"), state.agent.dialer.guard());
    let added = initializer::add(state.relays.as_ref(), sorted).await.map_err(|error| {
        tracing::warn!(%error, "failed to add relays");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the archive could not be written: try again later")
    })?;
    // So that a list of relays has them at once.
    run_query(state.catalog.list(state.relays.as_ref())).await?;
    Ok(Json(serde_json::to_value(added).unwrap_or_default()))
}

/// Schedule an immediate check of a relay; needs `http.token`, or a signature (NIP-98)
#[utoipa::path(post, path = "/api/v1/relays/{url}/check", params(("url" = String, Path, description = "Its address")),
    responses((status = 202, body = Object), (status = 401, description = "Neither the token nor a signature that counts"),
        (status = 404, description = "It is not known here")))]
pub(super) async fn check_relay(
    State(state): State<AppState>,
    Path(url): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Problem> {
    admit(&state, &method, &uri, &headers, &[])?;
    let address = path_address(&state, &url)?;
    let url = address.as_str();
    if run_query(state.relays.relay(url)).await?.is_none() {
        return Err(unknown(url));
    }
    state.agent.robots.forget(&address);
    run_query(state.checks.set_check_due(url, 0)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"relay": url, "due": true}))))
}

/// Pause or resume a service until the agent exits; needs `http.token`, or a signature (NIP-98)
#[utoipa::path(post, path = "/api/v1/services/{name}/{what}",
    params(("name" = String, Path, description = "As /healthz names it"), ("what" = String, Path, description = "pause or resume", pattern = "^(pause|resume)$")),
    responses((status = 200, body = Object), (status = 401, description = "Neither the token nor a signature that counts"),
        (status = 404, description = "No service has this name")))]
pub(super) async fn service(
    State(state): State<AppState>,
    Path((name, what)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer<Value> {
    admit(&state, &method, &uri, &headers, &[])?;
    let paused = match what.as_str() {
        "pause" if name == "http" => return Err(Problem::wrong("who pauses http cannot resume it")),
        "pause" => true,
        "resume" => false,
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, format!("{what:?} is neither pause nor resume"))),
    };
    if !state.vitals.pause(&name, paused) {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("no service is called {name:?}: see /healthz")));
    }
    Ok(Json(json!({"service": name, "paused": paused})))
}
