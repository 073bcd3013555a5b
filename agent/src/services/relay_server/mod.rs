//! The relay server: serves the archive to anybody (NIP-01, 11, 45, 50, 70, 77). Clients can submit job requests and read
//! the answers here; nothing else is accepted.

mod answer;
mod budget;
mod compare;
mod count;
mod feed;
mod line;
mod session;
mod submit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use answer::Source;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use brotr_core::parse_filter;
use brotr_net::Listener;
use brotr_storage::{EventStore, StorageError, View, with_time_limit};
use budget::Budget;
use count::Counts;
use feed::Feed;
use line::Line;
use nostr::Filter;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::agent::{Agent, now};
use crate::inbound::{self, Client, Limits, Takeover};
use crate::intake::JobIntake;

/// The largest message of a client, in bytes.
pub(crate) const MAX_MESSAGE: usize = 128 << 10;
/// Events returned per filter, at most and by default.
pub(crate) const MAX_LIMIT: usize = 500;
/// Subscriptions per client, filters per subscription, and characters of its name.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 20;
pub(crate) const MAX_FILTERS: usize = 20;
pub(crate) const MAX_NAME: usize = 64;
/// Time limit of a client's query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The feed takes this fraction of `relay.memory`; the rest is the budget of the clients.
const FEED: usize = 4;

#[derive(Clone)]
struct Server {
    agent: Agent<dyn EventStore>,
    jobs: Option<JobIntake>,
    /// New events.
    feed: Arc<Feed>,
    budget: Arc<Budget>,
    source: Arc<Source>,
    counts: Arc<Counts>,
}

/// Binds the port.
///
/// # Errors
/// Fails if the port is in use or not permitted.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| Error::Listen { address, key: "relay", error })
}

/// Serves clients until the future is dropped: then every client is disconnected, and can connect and subscribe again.
///
/// # Errors
/// Fails if the socket fails.
pub async fn serve(agent: Agent<dyn EventStore>, jobs: Option<JobIntake>, listener: Arc<dyn Listener>) -> Result<()> {
    let config = &agent.config.relay;
    let limits = Limits {
        connections: inbound::affordable(config.max_connections, &agent.config),
        per_address: config.max_per_address,
        proxies: config.trusted_proxies.clone(),
    };
    let memory = usize::try_from(config.memory.as_u64()).unwrap_or(usize::MAX);
    let feed = Feed::new(memory / FEED);
    let budget = Budget::new(memory - memory / FEED, config.max_per_address);
    let source = Arc::new(Source::new(agent.archive.clone()));
    let server = Server { agent, jobs, feed, budget, source, counts: Arc::default() };
    let router = Router::new().route("/", any(welcome)).with_state(server.clone());
    tokio::select! {
        ended = inbound::serve(listener.as_ref(), limits, router) => ended,
        () = server.feed.run(server.agent.archive.as_ref()) => Ok(()),
    }
}

/// Upgrades a request to a WebSocket, or describes the relay.
async fn welcome(
    State(server): State<Server>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(takeover): Extension<Takeover>,
    mut request: Request,
) -> Response {
    let Ok(response) = create_response_with_body(&request, Body::empty) else {
        return describe(&server, request.method(), request.headers());
    };
    let client = Client::of(peer, request.headers(), &server.agent.config.relay.trusted_proxies);
    let Some(account) = server.budget.open(client.known.then_some(client.address)) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many connections from one address").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    takeover.set(async move {
        if let Ok(upgraded) = upgrade.await {
            session::converse(server, Line::new(upgraded, account).await).await;
        }
    });
    response
}

/// Answers a request that is not a WebSocket, with the information document (NIP-11) if it is asked for. Pages of any origin
/// may read it.
fn describe(server: &Server, method: &Method, headers: &HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let answer = match *method {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        Method::GET | Method::HEAD if accepts.contains("application/nostr+json") => {
            ([(header::CONTENT_TYPE, "application/nostr+json")], Json(document(&server.agent))).into_response()
        }
        Method::GET | Method::HEAD => "a Nostr relay: connect with a Nostr client\n".into_response(),
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD, OPTIONS")]).into_response(),
    };
    let allow = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::VARY, "accept"),
    ];
    (allow, answer).into_response()
}

/// Returns the information document (NIP-11).
fn document(agent: &Agent<dyn EventStore>) -> Value {
    let identity = &agent.config.identity;
    let mut nips = vec![1, 9, 11, 40, 45, 62, 67, 70, 77, 90];
    if agent.config.storage.search {
        nips.push(50);
        nips.sort_unstable();
    }
    let mut document = json!({
        "name": identity.name.as_deref().unwrap_or("Brotr"),
        "description": identity.about.as_deref().unwrap_or("The archive of a Nostr agent, to be read; and its jobs (NIP-90)."),
        "icon": identity.picture,
        "pubkey": agent.signer.public_key(),
        // The relay's own key: it is the agent's.
        "self": agent.signer.public_key(),
        "contact": agent.config.network.contact,
        "supported_nips": nips,
        "software": "brotr",
        "version": env!("CARGO_PKG_VERSION"),
        "limitation": {
            "max_message_length": MAX_MESSAGE,
            "max_subscriptions": MAX_SUBSCRIPTIONS,
            "max_subid_length": MAX_NAME,
            "max_limit": MAX_LIMIT,
            "default_limit": MAX_LIMIT,
            "auth_required": false,
            "payment_required": false,
            "restricted_writes": true,
        },
    });
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    document
}

/// Returns what clients see now.
fn view() -> View {
    View::Client { now: now() }
}

/// Parses the filters of a message, each bounded.
fn parse(values: &[Value]) -> Result<Vec<Filter>, String> {
    if values.is_empty() || values.len() > MAX_FILTERS {
        return Err(format!("invalid: give 1 to {MAX_FILTERS} filters"));
    }
    let parse = |value| parse_filter(value).map_err(|error| format!("invalid: {error}"));
    values.iter().map(parse).collect()
}

/// Runs a client's query within its time limit. Errors are messages for the client.
async fn query<T>(query: impl Future<Output = Result<T, StorageError>>) -> Result<T, String> {
    // The limit applies to the statement; waiting for a connection may take as long again.
    match timeout(QUERY_TIMEOUT * 2, with_time_limit(QUERY_TIMEOUT, query)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error @ (StorageError::NoSearch | StorageError::NoContents))) => Err(format!("unsupported: {error}")),
        Ok(Err(error @ StorageError::TooLong(_))) => Err(format!("error: {error}")),
        Ok(Err(error)) => {
            tracing::warn!(%error, "failed to answer a client of the relay");
            Err("error: the archive could not be asked".into())
        }
        Err(_) => Err("error: too many ask at once: try again later".into()),
    }
}
