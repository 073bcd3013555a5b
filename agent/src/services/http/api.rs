//! `/api/v1`: REST. The description at `/api/v1/openapi.json` is generated from this code.

mod events;
mod write;

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use brotr_core::{Network, RelayState, RelayUrl};
use brotr_storage::{DocumentType, JobStatus, Overview, Relay, RelayQuery, StorageError, with_time_limit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::AppState;
use super::access::MAX_BODY;
use super::access::Problem;
use crate::agent::now;
use crate::history::History;
use crate::state::OBSERVED_CAP;

/// The time limit of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of a response, by default and at most.
const USUAL: u16 = 100;
const MOST: u16 = 1_000;
/// The most checks of one relay in a response: those of the last week.
const SHOWN: i64 = 500;
const A_WEEK: i64 = 7 * 86_400;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Brotr",
        description = "Relays, events, coverage and jobs, as one agent knows them. Times are unix seconds."
    ),
    paths(
        relays,
        relay,
        coverage,
        events::events,
        events::event,
        events::count,
        stats,
        jobs,
        history,
        write::add_relays,
        write::check_relay,
        write::service
    )
)]
struct Description;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/v1/relays", get(relays).post(write::add_relays))
        .route("/api/v1/relays/{url}", get(relay))
        .route("/api/v1/relays/{url}/check", post(write::check_relay))
        .route("/api/v1/coverage", get(coverage))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/events/{id}", get(events::event))
        .route("/api/v1/count", get(events::count))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/history", get(history))
        .route("/api/v1/jobs", get(jobs))
        .route("/api/v1/services/{name}/{what}", post(write::service))
        .route("/api/v1/openapi.json", get(description))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

type Answer<T> = Result<Json<T>, Problem>;

async fn description() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

/// A query string; one that does not parse is answered with a problem.
struct Asked<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        read.map(|Query(asked)| Self(asked)).map_err(|error| Problem::wrong(error.body_text()))
    }
}

async fn looked<T>(look: impl Future<Output = Result<T, StorageError>>) -> Result<T, Problem> {
    Ok(with_time_limit(QUERY_TIMEOUT, look).await?)
}

fn rows(limit: Option<u16>) -> Result<i64, Problem> {
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit is {limit}: give a number from 1 to {MOST}")));
    }
    Ok(limit.into())
}

fn words<T: std::str::FromStr>(text: Option<&str>, what: &str, all: &[&str]) -> Result<Vec<T>, Problem> {
    let wrong = |word: &str| Problem::wrong(format!("{what} is {word:?}: give one or more of {}", all.join(",")));
    let words = text.into_iter().flat_map(|text| text.split(',')).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| wrong(word))).collect()
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RelaysAsked {
    /// Only these networks: clearnet, tor, i2p, loki; several separated by commas
    network: Option<String>,
    /// Only these states: new, up, down, alias; several separated by commas
    state: Option<String>,
    /// Only URLs that contain this text
    contains: Option<String>,
    /// Only URLs after this one: `next` of the previous page
    after: Option<String>,
    /// 1 to 1000; default 100
    limit: Option<u16>,
}

/// A relay and the result of its last check
#[derive(Serialize, ToSchema)]
struct RelayRow {
    url: String,
    #[schema(value_type = String)]
    network: Network,
    #[schema(value_type = String)]
    state: RelayState,
    discovered_at: i64,
    checked_at: Option<i64>,
    /// Consecutive checks that found it down
    failures: i64,
    /// Round trips in milliseconds
    rtt_open_ms: Option<i64>,
    rtt_read_ms: Option<i64>,
    rtt_write_ms: Option<i64>,
    country: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl RelayRow {
    fn of(relay: Relay, [open, read, write]: [Option<i64>; 3], facts: Option<&str>) -> Self {
        let facts: Value = facts.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let Relay { url, network, state, discovered_at, checked_at, failures } = relay;
        Self {
            url,
            network,
            state,
            discovered_at,
            checked_at,
            failures,
            rtt_open_ms: open,
            rtt_read_ms: read,
            rtt_write_ms: write,
            country: facts["geo"]["country"].as_str().map(str::to_owned),
            latitude: facts["geo"]["latitude"].as_f64(),
            longitude: facts["geo"]["longitude"].as_f64(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Relays {
    relays: Vec<RelayRow>,
    /// Pass as `after` for the next page; null on the last page
    next: Option<String>,
}

/// List relays by URL, page by page
#[utoipa::path(get, path = "/api/v1/relays", params(RelaysAsked), responses((status = 200, body = Relays)))]
async fn relays(State(state): State<AppState>, Asked(asked): Asked<RelaysAsked>) -> Answer<Relays> {
    let limit = rows(asked.limit)?;
    // PostgreSQL cannot hold NUL in text, and no URL contains it.
    for (name, text) in [("contains", &asked.contains), ("after", &asked.after)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(Problem::wrong(format!("{name} must not contain NUL")));
        }
    }
    let named = |words: &[&'static str]| words.to_vec();
    let networks: Vec<_> = Network::ALL.iter().map(|network| network.as_str()).collect();
    let states: Vec<_> = RelayState::ALL.iter().map(|state| state.as_str()).collect();
    let query = RelayQuery {
        networks: words(asked.network.as_deref(), "network", &named(&networks))?,
        states: words(asked.state.as_deref(), "state", &named(&states))?,
        contains: asked.contains.unwrap_or_default(),
        after: asked.after,
        limit: limit + 1,
        ..RelayQuery::default()
    };
    let mut found = looked(state.relays.overview(&query)).await?;
    let more = found.len() > usize::from(asked.limit.unwrap_or(USUAL));
    if more {
        found.pop();
    }
    let next = found.last().filter(|_| more).map(|last| last.relay.url.clone());
    let row = |one: Overview| RelayRow::of(one.relay, one.rtt_ms, one.nip66.as_deref());
    Ok(Json(Relays { relays: found.into_iter().map(row).collect(), next }))
}

#[derive(Serialize, ToSchema)]
struct Checked {
    at: i64,
    up: bool,
    rtt_open_ms: Option<i64>,
    rtt_read_ms: Option<i64>,
    rtt_write_ms: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct RelayDetail {
    #[serde(flatten)]
    relay: RelayRow,
    /// Uptime, percentiles of round trips, and state changes
    #[schema(value_type = Object)]
    history: Value,
    /// Checks of the last week, newest first
    checks: Vec<Checked>,
    /// Its information document as received (NIP-11), unverified
    #[schema(value_type = Option<Object>)]
    nip11: Option<Value>,
    /// Result of the last check
    #[schema(value_type = Option<Object>)]
    nip66: Option<Value>,
    coverage: Vec<Coverage>,
    /// Events that it returns per request, as observed
    observed_cap: Option<u64>,
}

/// Get one relay, with its history and coverage
///
/// The URL in the path is percent-encoded: `/api/v1/relays/wss%3A%2F%2Frelay.example%2F`.
#[utoipa::path(get, path = "/api/v1/relays/{url}", params(("url" = String, Path, description = "Its address")),
    responses((status = 200, body = RelayDetail), (status = 404, description = "It is not known here")))]
async fn relay(State(state): State<AppState>, Path(url): Path<String>) -> Answer<RelayDetail> {
    let address = address(&state, &url)?;
    let url = address.as_str();
    let Some(relay) = looked(state.relays.relay(url)).await? else { return Err(unknown(url)) };
    let documents = looked(state.checks.documents(url)).await?;
    let visits = looked(state.checks.visits(url, 0, History::VISITS)).await?;
    let cap = looked(OBSERVED_CAP.get(state.states.as_ref(), url)).await?;
    let document = |kind: DocumentType| documents.iter().find(|document| document.kind == kind);
    let parsed = |kind| document(kind).and_then(|document| serde_json::from_str(&document.data).ok());
    let rtt_ms = document(DocumentType::Nip66).map(|document| document.rtt_ms).unwrap_or_default();
    let facts = document(DocumentType::Nip66).map(|document| document.data.clone());
    let checks =
        visits.iter().take_while(|visit| visit.at >= now() - A_WEEK).take(SHOWN as usize).map(|visit| Checked {
            at: visit.at,
            up: visit.up,
            rtt_open_ms: visit.rtt_ms[0],
            rtt_read_ms: visit.rtt_ms[1],
            rtt_write_ms: visit.rtt_ms[2],
        });
    Ok(Json(RelayDetail {
        checks: checks.collect(),
        history: History::of(&visits, now()).to_json(),
        nip11: parsed(DocumentType::Nip11),
        nip66: parsed(DocumentType::Nip66),
        coverage: covered(&state, Some(url)).await?,
        observed_cap: cap.map(|cap| cap.events as u64),
        relay: RelayRow::of(relay, rtt_ms, facts.as_deref()),
    }))
}

fn address(state: &AppState, url: &str) -> Result<RelayUrl, Problem> {
    RelayUrl::parse(url, state.agent.dialer.guard()).map_err(|error| Problem::wrong(format!("{url:?}: {error}")))
}

fn unknown(url: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("{url} is not known here"))
}

/// Coverage and gaps of a relay and filter
#[derive(Serialize, ToSchema)]
struct Coverage {
    relay: String,
    #[schema(value_type = Object)]
    filter: Value,
    covered: Vec<Span>,
    gaps: Vec<Missing>,
}

#[derive(Serialize, ToSchema)]
struct Span {
    since: i64,
    until: i64,
    method: String,
    proven_at: i64,
}

#[derive(Serialize, ToSchema)]
struct Missing {
    since: i64,
    until: i64,
    reason: String,
    /// Events seen in it, if known
    count: Option<i64>,
    tried_at: i64,
}

async fn covered(state: &AppState, relay: Option<&str>) -> Result<Vec<Coverage>, Problem> {
    let reports = looked(state.coverage.coverage(relay)).await?;
    let shown = reports.into_iter().map(|report| {
        let span = |c: brotr_core::Covered| Span {
            since: c.interval.since,
            until: c.interval.until,
            method: c.method.to_string(),
            proven_at: c.proven_at,
        };
        let missing = |g: brotr_core::Gap| Missing {
            since: g.interval.since,
            until: g.interval.until,
            reason: g.reason.to_string(),
            count: g.count,
            tried_at: g.tried_at,
        };
        Coverage {
            relay: report.relay,
            filter: serde_json::from_str(&report.filter).unwrap_or_default(),
            covered: report.covered.into_iter().map(span).collect(),
            gaps: report.gaps.into_iter().map(missing).collect(),
        }
    });
    Ok(shown.collect())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CoverageAsked {
    /// The relay's URL
    relay: String,
}

/// List spans of time in which all events of a relay are archived, and the gaps between them
#[utoipa::path(get, path = "/api/v1/coverage", params(CoverageAsked), responses((status = 200, body = Vec<Coverage>)))]
async fn coverage(State(state): State<AppState>, Asked(asked): Asked<CoverageAsked>) -> Answer<Vec<Coverage>> {
    let address = address(&state, &asked.relay)?;
    Ok(Json(covered(&state, Some(address.as_str())).await?))
}

/// Get statistics of the archive
#[utoipa::path(get, path = "/api/v1/stats", responses((status = 200, body = Object)))]
async fn stats(State(state): State<AppState>) -> Answer<Value> {
    Ok(Json(serde_json::to_value(looked(state.agent.archive.stats()).await?).unwrap_or_default()))
}

/// Get statistics over time, every five minutes of the last week: relays up and down, events, and lag
#[utoipa::path(get, path = "/api/v1/history", responses((status = 200, body = Vec<Object>)))]
async fn history(State(state): State<AppState>) -> Json<Vec<super::live::Sample>> {
    Json(state.live.history())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsAsked {
    /// Only jobs with this status: received, working, unpaid, answered, failed or cancelled
    status: Option<String>,
    /// 1 to 1000; default 100
    limit: Option<u16>,
}

#[derive(Serialize, ToSchema)]
struct JobRow {
    /// Event id of the request
    id: String,
    kind: u16,
    customer: String,
    received_at: i64,
    #[schema(value_type = String)]
    status: JobStatus,
}

/// List jobs, newest first
#[utoipa::path(get, path = "/api/v1/jobs", params(JobsAsked), responses((status = 200, body = Vec<JobRow>)))]
async fn jobs(State(state): State<AppState>, Asked(asked): Asked<JobsAsked>) -> Answer<Vec<JobRow>> {
    let all: Vec<_> = JobStatus::ALL.iter().map(|status| status.as_str()).collect();
    let status = words::<JobStatus>(asked.status.as_deref(), "status", &all)?;
    let found = looked(state.jobs.jobs(status.first().copied(), rows(asked.limit)?)).await?;
    let row = |job: brotr_storage::Job| JobRow {
        id: job.id.to_hex(),
        kind: job.kind,
        customer: job.customer.to_hex(),
        received_at: job.received_at,
        status: job.status,
    };
    Ok(Json(found.into_iter().map(row).collect()))
}
