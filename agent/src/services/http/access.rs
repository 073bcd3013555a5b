//! Limits on requests, authorization of writes, and headers of every response.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Result;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64, HEXLOWER};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use nostr::nips::nip98::{self, HttpMethod, verify_auth_header};
use nostr::{EventId, JsonUtil, PublicKey, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::AppState;
use crate::agent::Agent;
use crate::clock::timestamp;
use crate::inbound::Client;

/// Larger responses have no ETag.
const TAGGED: usize = 8 << 20;
/// Requests in progress at a time; further ones wait.
const MAX_WORK: usize = 16;
/// The size from which a response is large, in bytes, and how many large ones are sent at a time.
const LARGE: usize = 256 << 10;
const MAX_LARGE: usize = 16;
/// A large response is sent in pieces of this size, in bytes.
const PIECE: usize = 32 << 10;
/// The largest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 256 << 10;
/// The body of a request must arrive within this time; only then does the request take a place.
const BODY: Duration = Duration::from_secs(10);
/// A request must be read and answered within this time, except streams.
const LONGEST: Duration = Duration::from_secs(60);
/// How long an authorization (NIP-98) stays valid: it may be dated 30 s ahead and is accepted for 60 s.
const LIFETIME: Duration = Duration::from_secs(95);
/// The most authorizations that are remembered.
const MAX_USED: usize = 10_000;
/// Content Security Policy of the dashboard: nothing but its own files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Limits and authorization.
#[derive(Debug)]
pub(super) struct Access {
    rate: DefaultKeyedRateLimiter<IpAddr>,
    token: Option<SecretString>,
    /// Keys that may write by NIP-98: the agent's own, and those in `http.admins`.
    admins: Vec<PublicKey>,
    /// URLs that a signature may name, without the path.
    bases: Vec<String>,
    /// Used authorizations, until they expire.
    used: Mutex<HashMap<EventId, Instant>>,
    origins: Vec<String>,
    proxies: Vec<IpNet>,
    work: Semaphore,
    large: Arc<Semaphore>,
}

impl Access {
    pub(super) fn new(agent: &Agent, listens: SocketAddr) -> Result<Self> {
        let http = &agent.config.http;
        let per_minute = NonZeroU32::new(http.per_minute).unwrap_or(NonZeroU32::MIN);
        let mut admins = vec![agent.signer.public_key()];
        for admin in &http.admins {
            admins.push(PublicKey::parse(admin)?);
        }
        let token = http.token.as_ref().map(|token| token.0.clone());
        let port = listens.port();
        let mut bases: Vec<String> =
            ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("http://{host}:{port}")).to_vec();
        bases.push(format!("http://{listens}"));
        bases.extend(http.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()));
        Ok(Self {
            rate: RateLimiter::keyed(Quota::per_minute(per_minute)),
            token,
            admins,
            bases,
            used: Mutex::default(),
            origins: http.cors.clone(),
            proxies: http.trusted_proxies.clone(),
            work: Semaphore::new(MAX_WORK),
            large: Arc::new(Semaphore::new(MAX_LARGE)),
        })
    }

    /// Forgets addresses that have sent no request for a while.
    pub(super) fn tidy(&self) {
        self.rate.retain_recent();
    }

    /// Returns the client of a request.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        Client::of(peer, headers, &self.proxies)
    }

    /// Authorizes a write request: by the token, or by a signature (NIP-98) for `path` here. The Host header does not prove
    /// where the signer meant to send it.
    pub(super) fn may_write(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Problem> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(bearer) = given.strip_prefix("Bearer ") {
            let hash = |text: &str| Sha256::digest(text.trim());
            // Hashes are compared, so that the time taken reveals nothing of the token.
            let known = self.token.as_ref().is_some_and(|token| hash(token.expose_secret()) == hash(bearer));
            return if known { Ok(()) } else { Err(Problem::unauthorized("the token is not the one of http.token")) };
        }
        let method: HttpMethod = match method.as_str().parse() {
            Ok(method) => method,
            Err(_) => return Err(Problem::unauthorized("this method cannot be signed for")),
        };
        let body = (!body.is_empty()).then_some(body);
        let urls = self.bases.iter().filter_map(|base| Url::parse(&format!("{base}{path}")).ok());
        let mut checked = urls.map(|url| verify_auth_header(given, &url, method, timestamp(), body));
        // A wrong URL is a different error from what is wrong for every URL.
        let mut failed = None;
        let verified = checked.find_map(|result| match result {
            Ok(key) => Some(Ok(key)),
            Err(error @ nip98::Error::AuthorizationNotMatchRequest { .. }) => {
                failed = Some(error);
                None
            }
            Err(error) => Some(Err(error)),
        });
        let here = format!("{}{path}", self.bases.last().map_or("", String::as_str));
        match verified.unwrap_or_else(|| Err(failed.unwrap_or(nip98::Error::MalformedAuthorizationHeader))) {
            Ok(key) if self.admins.contains(&key) => self.use_once(given),
            Ok(_) => Err(Problem::unauthorized("the key is neither the agent's own nor one of http.admins")),
            Err(nip98::Error::AuthorizationNotMatchRequest { authorized_url, authorized_method, .. }) => {
                Err(Problem::unauthorized(format!(
                    "the signature is for {authorized_method} {authorized_url}: sign for {method} {here}, or set http.public_url"
                )))
            }
            Err(error) => Err(Problem::unauthorized(format!(
                "give `Authorization: Bearer` with http.token, or sign for {here} (NIP-98): {error}"
            ))),
        }
    }

    /// Accepts a verified authorization, unless it was used before.
    fn use_once(&self, given: &str) -> Result<(), Problem> {
        let event = given.split_once(' ').and_then(|(_, text)| BASE64.decode(text.as_bytes()).ok());
        let event = event.and_then(|json| nostr::Event::from_json(json).ok());
        let Some(event) = event else { return Err(Problem::unauthorized("the authorization cannot be read")) };
        let now = Instant::now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| *until > now);
        if used.len() >= MAX_USED {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many signed requests: wait a minute"));
        }
        match used.insert(event.id, now + LIFETIME) {
            None => Ok(()),
            Some(_) => Err(Problem::unauthorized("this authorization was used before: sign another")),
        }
    }
}

/// A problem as RFC 9457 describes it. It reveals no internals.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn wrong(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }
}

impl From<brotr_storage::StorageError> for Problem {
    fn from(error: brotr_storage::StorageError) -> Self {
        use brotr_storage::StorageError as E;
        match error {
            E::NoSearch | E::NoContents => Self::new(StatusCode::NOT_IMPLEMENTED, error.to_string()),
            E::TooLong(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            error => {
                tracing::warn!(%error, "failed to answer over HTTP");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the archive could not be asked: try again later")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body =
            json!({"type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail});
        let mut response = (self.status, Json(body)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Nostr"));
        }
        response
    }
}

pub(super) async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address: see /api/v1/openapi.json")
}

/// Limits the requests per minute of one address.
pub(super) async fn limit(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let client = state.access.client(peer, request.headers());
    if state.access.rate.check_key(&client.address).is_err() {
        let mut response =
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests: wait a minute").into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        return response;
    }
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request did not come, or was not answered, in time");
    let answer = async {
        // The body first: a client that sends it slowly must not occupy a place.
        let (parts, body) = request.into_parts();
        let body = match timeout(BODY, to_bytes(body, MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large").into_response();
            }
            Err(elapsed) => return late(elapsed).into_response(),
        };
        let _place = state.access.work.acquire().await;
        next.run(Request::from_parts(parts, Body::from(body))).await
    };
    timeout(LONGEST, answer).await.unwrap_or_else(|elapsed| late(elapsed).into_response())
}

/// Adds an ETag to responses, and answers 304 to a client that has the content already. Few large responses are sent at a time,
/// since each is in memory until its client has read it.
pub(super) async fn tag(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let (is_head, had) = (request.method() == Method::HEAD, request.headers().get(header::IF_NONE_MATCH).cloned());
    let readable = is_head || request.method() == Method::GET;
    if is_head {
        // The tag is that of the content, which has to be made for it.
        *request.method_mut() = Method::GET;
    }
    let response = next.run(request).await;
    if !readable || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, TAGGED).await else {
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the answer is too large: ask for less").into_response();
    };
    let tag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(&body)[..12]));
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes");
    if !parts.headers.contains_key(header::CACHE_CONTROL) {
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    parts.headers.insert(header::ETAG, tag.clone());
    let known = had
        .as_ref()
        .and_then(|had| had.to_str().ok())
        .is_some_and(|had| had.split(',').any(|one| one.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes()));
    if known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    if is_head {
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        return Response::from_parts(parts, Body::empty());
    }
    if body.len() <= LARGE {
        return Response::from_parts(parts, Body::from(body));
    }
    match state.access.large.clone().try_acquire_owned() {
        Ok(place) => {
            parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
            // In pieces, so that the place is held until the last of them was taken.
            let pieces = (0..body.len()).step_by(PIECE).map(move |start| {
                let _place = &place;
                Ok::<_, Infallible>(body.slice(start..body.len().min(start + PIECE)))
            });
            Response::from_parts(parts, Body::from_stream(futures::stream::iter(pieces)))
        }
        Err(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many large answers are on their way: try again later")
                .into_response()
        }
    }
}

/// Adds security headers and CORS to every response.
pub(super) async fn harden(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let origins = &state.access.origins;
    let allowed = origin.filter(|origin| origins.iter().any(|one| one == "*" || one == origin));
    if let Some(Ok(origin)) = allowed.map(|origin| HeaderValue::from_str(&origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, if-none-match"),
        );
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag"));
    }
    response
}
