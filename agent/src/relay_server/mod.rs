//! The archive as a relay (NIP-01, 11, 45, 50, 77): read by anybody, written by nobody but who asks for jobs. Clients can submit
//! a job here and read its answer in the same place.

mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use brotr_storage::Event;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};

use crate::agent::Agent;
use crate::jobs::Desk;

/// A message of a client is at most so large.
pub(crate) const MAX_MESSAGE: usize = 128 << 10;
/// Events that one filter is answered with at most, and if it has no limit.
pub(crate) const MAX_LIMIT: usize = 500;
/// Open subscriptions of one client, filters of one, and letters of its name.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 20;
pub(crate) const MAX_FILTERS: usize = 20;
pub(crate) const MAX_NAME: usize = 64;
/// How often it is looked for what came in, while anybody listens, and how much of it at a time.
const LOOK: Duration = Duration::from_millis(200);
const PAGE: i64 = 500;
/// What comes in waits so long for a slow client.
const FEED: usize = 2_048;

#[derive(Clone)]
pub(crate) struct House {
    pub(crate) agent: Agent,
    pub(crate) jobs: Option<Desk>,
    /// What the archive takes in.
    pub(crate) feed: broadcast::Sender<Arc<Event>>,
    places: Arc<Semaphore>,
}

/// Takes the port.
///
/// # Errors
/// When it is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("failed to listen on {address}: set relay.listen to another, or relay.enabled to false")
    })
}

/// For ever: serves on a port taken before.
///
/// # Errors
/// When the socket or the archive fails.
pub async fn serve(agent: Agent, jobs: Option<Desk>, listener: std::net::TcpListener) -> Result<()> {
    let (feed, _) = broadcast::channel(FEED);
    let places = Arc::new(Semaphore::new(agent.config.relay.max_connections));
    let house = House { agent, jobs, feed, places };
    let router = Router::new().route("/", get(welcome)).with_state(house.clone());
    // Answers are small and waited for.
    let listener = TcpListener::from_std(listener)?.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, router);
    tokio::select! {
        ended = server => ended.context("the relay's server failed"),
        ended = listen(&house) => ended,
    }
}

/// Tells the clients what the archive takes in.
async fn listen(house: &House) -> Result<()> {
    let archive = &house.agent.archive;
    let mut after = archive.last_stored().await?;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = house.agent.archived.notified() => {}
        }
        if house.feed.receiver_count() == 0 {
            after = archive.last_stored().await?;
            continue;
        }
        loop {
            let page = archive.stored_after(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (_, event) in page {
                let _ = house.feed.send(Arc::new(event));
            }
        }
    }
}

async fn welcome(State(house): State<House>, headers: HeaderMap, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &house).await {
        let Ok(place) = house.places.clone().try_acquire_owned() else {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many connections, try again later").into_response();
        };
        let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).read_buffer_size(8 << 10);
        return upgrade.on_upgrade(move |socket| async move {
            session::converse(house, socket).await;
            drop(place);
        });
    }
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/nostr+json") {
        let allow = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET"),
            (header::CONTENT_TYPE, "application/nostr+json"),
        ];
        return (allow, Json(document(&house.agent))).into_response();
    }
    "a Nostr relay: connect with a Nostr client".into_response()
}

/// What the relay says of itself (NIP-11).
fn document(agent: &Agent) -> Value {
    let identity = &agent.config.identity;
    let mut nips = vec![1, 9, 11, 40, 45, 62, 77, 90];
    if agent.config.storage.search {
        nips.push(50);
        nips.sort_unstable();
    }
    json!({
        "name": identity.name.as_deref().unwrap_or("Brotr"),
        "description": identity.about.as_deref().unwrap_or("The archive of a Nostr agent, to be read; and its jobs (NIP-90)."),
        "pubkey": agent.signer.public_key(),
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
    })
}
