//! `/api/v1`: REST. The description at `/api/v1/openapi.json` is generated from this code.

mod address;
mod authors;
mod badge;
mod coverage;
mod events;
mod jobs;
mod relays;
mod summary;
mod write;

pub(super) use relays::LISTED_DAYS;

use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use brotr_storage::{StorageError, with_time_limit};
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use super::AppState;
use super::access::MAX_BODY;
use super::access::Problem;

/// The time limit of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of a response, by default and at most.
const USUAL: u16 = 100;
const MOST: u16 = 1_000;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Brotr",
        description = "Relays, events, coverage and jobs, as one agent knows them. Times are unix seconds."
    ),
    paths(
        relays::relays,
        relays::relay,
        relays::checks,
        relays::kinds,
        relays::retention,
        relays::badge,
        relays::map,
        coverage::coverage,
        events::events,
        events::event,
        events::count,
        authors::relays,
        authors::relays_for_all,
        authors::versions,
        summary::relays,
        summary::kinds,
        summary::coverage,
        summary::stats,
        summary::history,
        summary::agent,
        jobs::jobs,
        write::add_relays,
        write::check_relay,
        write::service
    ),
    components(schemas(ProblemDetails))
)]
struct Description;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/v1/agent", get(summary::agent))
        .route("/api/v1/relays", get(relays::relays).post(write::add_relays))
        .route("/api/v1/relays/{url}", get(relays::relay))
        .route("/api/v1/relays/{url}/badge.svg", get(relays::badge))
        .route("/api/v1/relays/{url}/check", post(write::check_relay))
        .route("/api/v1/relays/{url}/checks", get(relays::checks))
        .route("/api/v1/relays/{url}/kinds", get(relays::kinds))
        .route("/api/v1/relays/{url}/retention", get(relays::retention))
        .route("/api/v1/map", get(relays::map))
        .route("/api/v1/coverage", get(coverage::coverage))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/events/{id}", get(events::event))
        .route("/api/v1/count", get(events::count))
        .route("/api/v1/authors/relays", post(authors::relays_for_all))
        .route("/api/v1/authors/{author}/relays", get(authors::relays))
        .route("/api/v1/authors/{author}/versions", get(authors::versions))
        .route("/api/v1/summary/relays", get(summary::relays))
        .route("/api/v1/summary/kinds", get(summary::kinds))
        .route("/api/v1/summary/coverage", get(summary::coverage))
        .route("/api/v1/stats", get(summary::stats))
        .route("/api/v1/history", get(summary::history))
        .route("/api/v1/jobs", get(jobs::jobs))
        .route("/api/v1/services/{name}/{what}", post(write::service))
        .route("/api/v1/openapi.json", get(description))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

type Answer<T> = Result<Json<T>, Problem>;

/// Errors that every operation may answer with.
const ERRORS: [(&str, &str); 5] = [
    ("400", "A parameter is wrong; `detail` says which, and what to give"),
    ("408", "The request did not arrive, or was not answered, in time"),
    ("413", "The request, or the answer, is too large"),
    ("429", "Too many requests from this address; `Retry-After` says when to come again"),
    ("503", "The archive did not answer, or too many large answers are on their way; try again later"),
];

/// A problem as RFC 9457 describes it
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what Problem sends")]
struct ProblemDetails {
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong, and what to do
    detail: String,
}

async fn description() -> Json<Value> {
    Json(DESCRIPTION.clone())
}

/// The description of the interface, with what its generator has no words for.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let mut description = serde_json::to_value(Description::openapi()).unwrap_or_default();
    let schema = json!({"$ref": "#/components/schemas/ProblemDetails"});
    let problem =
        |text: &Value| json!({"description": text, "content": {"application/problem+json": {"schema": schema}}});
    let operations = description["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        let responses = &mut operation["responses"];
        for (status, text) in ERRORS {
            responses[status] = problem(&text.into());
        }
        for status in ["401", "404"] {
            if responses.get(status).is_some() {
                responses[status] = problem(&responses[status]["description"]);
            }
        }
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
        for filter in parameters.filter(|parameter| parameter["name"] == "filter") {
            filter["content"] = json!({"application/json": {"schema": filter_schema()}});
            filter.as_object_mut().map(|filter| filter.remove("schema"));
        }
    }
    description
});

/// The JSON schema of a filter (NIP-01).
fn filter_schema() -> Value {
    let ids = json!({"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}});
    let time = json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
    json!({
        "type": "object",
        "properties": {
            "ids": ids,
            "authors": ids,
            "kinds": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65_535}},
            "since": time,
            "until": time,
            "limit": {"type": "integer", "minimum": 0},
            "search": {"type": "string"},
        },
        "patternProperties": {"^#[A-Za-z]$": {"type": "array", "items": {"type": "string"}}},
        "additionalProperties": false,
    })
}

/// A query string; one that does not parse is answered with a problem.
struct Params<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        read.map(|Query(params)| Self(params)).map_err(|error| Problem::wrong(error.body_text()))
    }
}

/// Runs a query of the archive within its time limit.
async fn run_query<T>(query: impl Future<Output = Result<T, StorageError>>) -> Result<T, Problem> {
    Ok(with_time_limit(QUERY_TIMEOUT, query).await?)
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
