//! Authors: the relays that give their events, and the earlier versions of their profiles and lists.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nostr::PublicKey;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::super::AppState;
use super::super::access::Problem;
use super::events::after;
use super::{Answer, Params, QUERY_TIMEOUT, run_query};
use crate::agent::now;
use crate::recall::{
    AuthorReport, ListReport, MAX_AUTHORS, Source, USUAL_FOR_MANY, USUAL_FOR_ONE, USUAL_RECALL, Wanted,
};
use crate::versions::{self, Address, Version};

/// The most relays.
const MOST_RELAYS: usize = 100;
/// Versions, if no other number is given.
const USUAL_VERSIONS: usize = 20;

/// The permit to answer a request for several authors.
static ONE_LIST: Semaphore = Semaphore::const_new(1);

/// Parses the public key in a path.
fn author(text: &str) -> Result<PublicKey, Problem> {
    PublicKey::parse(text).map_err(|_| {
        let detail = format!("{text:?} is no public key: give it in hexadecimal, or as npub1 or nprofile1");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

fn wanted(recall: Option<f64>, relays: Option<usize>, usual: usize) -> Result<Wanted, Problem> {
    let wanted = Wanted { recall: recall.unwrap_or(USUAL_RECALL), relays: relays.unwrap_or(usual) };
    if !(0.0..=1.0).contains(&wanted.recall) {
        return Err(Problem::wrong(format!("recall is {}: give a number from 0 to 1", wanted.recall)));
    }
    if !(1..=MOST_RELAYS).contains(&wanted.relays) {
        return Err(Problem::wrong(format!("most is {}: give a number from 1 to {MOST_RELAYS}", wanted.relays)));
    }
    Ok(wanted)
}

fn source(state: &AppState) -> Source<'_> {
    Source {
        events: state.agent.archive.as_ref(),
        sightings: state.sightings.as_ref(),
        relays: state.relays.as_ref(),
        now: now(),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecallParams {
    /// The share of the author's events that is wanted, from 0 to 1; default 0.95
    #[param(minimum = 0, maximum = 1)]
    recall: Option<f64>,
    /// The most relays; default 3
    #[param(minimum = 1, maximum = 100)]
    most: Option<usize>,
}

/// Find the relays that give most of an author's events, by where the events were seen
#[utoipa::path(get, path = "/api/v1/authors/{author}/relays",
    params(("author" = String, Path, description = "The public key, in hexadecimal or as NIP-19 writes it"), RecallParams),
    responses((status = 200, body = AuthorReport), (status = 404, description = "It is no public key")))]
pub(super) async fn relays(
    State(state): State<AppState>,
    Path(key): Path<String>,
    Params(params): Params<RecallParams>,
) -> Answer<AuthorReport> {
    let author = author(&key)?;
    let wanted = wanted(params.recall, params.most, USUAL_FOR_ONE)?;
    Ok(Json(run_query(source(&state).author(author, wanted, state.agent.dialer.guard())).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Authors {
    /// Public keys, in hexadecimal or as NIP-19 writes them: at most 1000
    #[schema(min_items = 1, max_items = 1000)]
    authors: Vec<String>,
    /// The share of the authors' events that is wanted, from 0 to 1; default 0.95
    #[schema(minimum = 0, maximum = 1)]
    recall: Option<f64>,
    /// The most relays; default 30
    #[schema(minimum = 1, maximum = 100)]
    most: Option<usize>,
}

/// Find the fewest relays that together give the events of several authors, such as a follow list
#[utoipa::path(post, path = "/api/v1/authors/relays", request_body = Authors, responses((status = 200, body = ListReport)))]
pub(super) async fn relays_for_all(State(state): State<AppState>, body: Bytes) -> Answer<ListReport> {
    let asked: Authors = serde_json::from_slice(&body)
        .map_err(|error| Problem::wrong(format!("the body is not as described: {error}")))?;
    if !(1..=MAX_AUTHORS).contains(&asked.authors.len()) {
        return Err(Problem::wrong(format!("{} authors: give 1 to {MAX_AUTHORS}", asked.authors.len())));
    }
    let authors =
        asked.authors.iter().map(|key| author(key).map_err(|problem| problem.with_status(StatusCode::BAD_REQUEST)));
    let authors = authors.collect::<Result<Vec<_>, _>>()?;
    let wanted = wanted(asked.recall, asked.most, USUAL_FOR_MANY)?;
    // It may read the events of a thousand authors.
    let busy = |_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "another request for several authors is answered: try again later",
        )
    };
    let _permit = timeout(QUERY_TIMEOUT, ONE_LIST.acquire()).await.map_err(busy)?;
    Ok(Json(run_query(source(&state).authors(&authors, wanted)).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionsParams {
    /// The kind: 0 (profile), 3 (follows), 10002 (relays), or another that is replaceable or addressable
    #[param(minimum = 0, maximum = 65535)]
    kind: u16,
    /// The `d` tag of an addressable event
    d: Option<String>,
    /// Only versions before this one: `next` of the previous page
    after: Option<String>,
    /// 1 to 100; default 20
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Versions {
    /// Newest first
    versions: Vec<Version>,
    /// Pass as `after` for the next page; null on the last page
    next: Option<String>,
}

/// List the versions of an author's profile, follow list, relay list or other replaceable event, with what changed
#[utoipa::path(get, path = "/api/v1/authors/{author}/versions",
    params(("author" = String, Path, description = "The public key, in hexadecimal or as NIP-19 writes it"), VersionsParams),
    responses((status = 200, body = Versions), (status = 404, description = "It is no public key")))]
pub(super) async fn versions(
    State(state): State<AppState>,
    Path(key): Path<String>,
    Params(params): Params<VersionsParams>,
) -> Answer<Versions> {
    let address = Address::new(author(&key)?, params.kind, params.d.as_deref().unwrap_or_default());
    let address = address.map_err(Problem::wrong)?;
    let limit = params.limit.unwrap_or(USUAL_VERSIONS);
    if !(1..=versions::MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit is {limit}: give a number from 1 to {}", versions::MOST)));
    }
    let cursor = match params.after.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => after(text).ok_or_else(|| Problem::wrong("after is not what was given as next"))?.0,
        None => None,
    };
    let archive = state.agent.archive.as_ref();
    let (versions, next) = run_query(versions::list(archive, &address, cursor, limit, now())).await?;
    let next = next.map(|next| format!("{}:{}", next.created_at, next.id));
    Ok(Json(Versions { versions, next }))
}
