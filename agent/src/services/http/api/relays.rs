//! Relays: the list, one relay with its history, its badge, and the map.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use brotr_core::{Network, RelayState, RelayUrl};
use brotr_storage::{DocumentSpan, DocumentType, View, Visit};
use nostr::{Filter, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::AppState;
use super::super::access::Problem;
use super::address::{path_address, unknown};
use super::badge;
use super::coverage::{Coverage, covered};
use super::{Answer, Params, rows, run_query, words};
use crate::agent::now;
use crate::catalog::{Entry, Order, Selection, SortKey};
use crate::history::{self, History, Incident};
use crate::relay_retention::{RETENTION, Retention};
use crate::state::{HINTS, Hints, Json as Stored, OBSERVED_CAP, OPTED_OUT};

const A_DAY: i64 = 86_400;
const A_WEEK: i64 = 7 * A_DAY;
/// The days of uptime in the answer about one relay,
const DAYS: usize = 90;
/// and at most in the list.
pub(in super::super) const LISTED_DAYS: u8 = 30;
/// The most checks in the answer about one relay: those of the last week.
const SHOWN: usize = 500;
/// The most incidents and versions of the document in the answer about one relay.
const MAX_INCIDENTS: usize = 100;
const MAX_DOCUMENTS: i64 = 50;
/// Kinds whose events on a relay are counted.
const KINDS: usize = 10;
/// Relays that are named at one place of the map.
const NAMED: usize = 10;

/// Declares the parameters of a request: which relays, and others.
macro_rules! params {
    ($name:ident { $($(#[$meta:meta])* $other:ident: $type:ty),* $(,)? }) => {
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            /// Only these networks: clearnet, tor, i2p, loki; several separated by commas
            #[param(pattern = "^((clearnet|tor|i2p|loki)(,(clearnet|tor|i2p|loki))*)?$")]
            network: Option<String>,
            /// Only these states: new, up, down, alias, opted-out; several separated by commas
            #[param(pattern = "^((new|up|down|alias|opted-out)(,(new|up|down|alias|opted-out))*)?$")]
            state: Option<String>,
            /// Only relays whose URL or name contains this text
            contains: Option<String>,
            /// Only relays whose software contains this text
            software: Option<String>,
            /// Only relays that claim to support all of these NIPs; several separated by commas
            #[param(pattern = "^([0-9]{1,4}(,[0-9]{1,4})*)?$")]
            nip: Option<String>,
            /// Only relays in this country, as a code of ISO 3166 such as DE
            #[param(pattern = "^([A-Za-z]{2})?$")]
            country: Option<String>,
            $($(#[$meta])* $other: $type,)*
        }

        impl $name {
            pub(super) fn selection(&self) -> Result<Selection, Problem> {
                let Self { network, state, contains, software, nip, country, .. } = self;
                let is_code = |code: &str| code.is_empty() || code.len() == 2 && code.bytes().all(|c| c.is_ascii_alphabetic());
                if let Some(code) = country.as_ref().filter(|code| !is_code(code)) {
                    return Err(Problem::wrong(format!("country is {code:?}: give two letters, such as DE")));
                }
                let networks: Vec<_> = Network::ALL.iter().map(|network| network.as_str()).collect();
                let states: Vec<_> = RelayState::ALL.iter().map(|state| state.as_str()).collect();
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                Ok(Selection {
                    networks: words(network.as_deref(), "network", &networks)?,
                    states: words(state.as_deref(), "state", &states)?,
                    nips: words(nip.as_deref(), "nip", &["numbers from 0 to 65535"])?,
                    text: text(contains),
                    software: text(software),
                    country: text(country),
                })
            }
        }
    };
}
params!(ListParams {
    /// url, name, state, software, country, rtt, uptime, events, checked or discovered; fastest, most and newest come first.
    /// With a minus before it, they come last. Relays without the value come last in either case.
    #[param(pattern = "^(-?(url|name|state|software|country|rtt|uptime|events|checked|discovered))?$")]
    sort: Option<String>,
    /// Days of uptime that are given for each relay, 0 to 30; default 0
    #[param(maximum = 30)]
    days: Option<u8>,
    /// Only relays after this URL: `next` of the previous page
    after: Option<String>,
    /// 1 to 1000; default 100
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
});

params!(SelectionParams {});

/// A relay and the result of its last check
#[derive(Serialize, ToSchema)]
pub(super) struct RelayRow {
    url: String,
    #[schema(value_type = String)]
    network: Network,
    #[schema(value_type = String)]
    state: RelayState,
    discovered_at: i64,
    checked_at: Option<i64>,
    /// Consecutive checks that found it down
    failures: i64,
    /// Events that it was seen to hold
    events: i64,
    /// Its name, software and version as it says itself (NIP-11), unverified
    name: Option<String>,
    software: Option<String>,
    version: Option<String>,
    /// The NIPs that it claims to support
    nips: Vec<u16>,
    /// The failure code of its last check, if that failed
    failure: Option<String>,
    /// What it requires of clients
    requires: Vec<String>,
    /// Round trips in milliseconds
    rtt_open_ms: Option<i64>,
    rtt_read_ms: Option<i64>,
    rtt_write_ms: Option<i64>,
    /// Share of the last day, week and month in which it was up, 0 to 1; null if unknown
    uptime_day: Option<f64>,
    uptime_week: Option<f64>,
    uptime_month: Option<f64>,
    /// Uptime of each day in percent, today (UTC) last; null for a day without checks
    #[serde(skip_serializing_if = "Vec::is_empty")]
    days: Vec<Option<u8>>,
    country: Option<String>,
    city: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl RelayRow {
    fn of(entry: &Entry, days: u8) -> Self {
        let Entry { relay, facts } = entry;
        let days = facts.days.len().saturating_sub(days.into())..;
        Self {
            url: relay.url.clone(),
            network: relay.network,
            state: relay.state,
            discovered_at: relay.discovered_at,
            checked_at: relay.checked_at,
            failures: relay.failures,
            events: relay.events,
            name: facts.name.clone(),
            software: facts.software.clone(),
            version: facts.version.clone(),
            nips: facts.nips.clone(),
            failure: facts.failure.clone(),
            requires: facts.requires.clone(),
            rtt_open_ms: facts.rtt_ms[0],
            rtt_read_ms: facts.rtt_ms[1],
            rtt_write_ms: facts.rtt_ms[2],
            uptime_day: facts.uptime[0],
            uptime_week: facts.uptime[1],
            uptime_month: facts.uptime[2],
            days: facts.days[days].to_vec(),
            country: facts.country.clone(),
            city: facts.city.clone(),
            latitude: facts.place.map(|place| place.0),
            longitude: facts.place.map(|place| place.1),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Relays {
    relays: Vec<RelayRow>,
    /// Relays that match, on all pages
    total: usize,
    /// Pass as `after` for the next page; null on the last page
    next: Option<String>,
}

/// List relays, page by page
#[utoipa::path(get, path = "/api/v1/relays", params(ListParams), responses((status = 200, body = Relays)))]
pub(super) async fn relays(State(state): State<AppState>, Params(params): Params<ListParams>) -> Answer<Relays> {
    let limit = rows(params.limit)?;
    let days = params.days.unwrap_or_default();
    if days > LISTED_DAYS {
        return Err(Problem::wrong(format!("days is {days}: give a number from 0 to {LISTED_DAYS}")));
    }
    let sort = params.sort.as_deref().filter(|sort| !sort.is_empty()).unwrap_or("url");
    let order: Order = sort.parse().map_err(|_| {
        let all: Vec<_> = SortKey::ALL.iter().map(|key| key.as_str()).collect();
        Problem::wrong(format!("sort is {sort:?}: give one of {}, or one with a minus before it", all.join(",")))
    })?;
    let after = params.after.as_deref().filter(|after| !after.is_empty());
    let page = state.catalog.page(&params.selection()?, order, after, limit as usize);
    let Some(page) = page else { return Err(Problem::wrong("after is not what was given as next")) };
    let next = page.entries.last().filter(|_| page.has_more).map(|last| last.relay.url.clone());
    let relays = page.entries.iter().map(|entry| RelayRow::of(entry, days)).collect();
    Ok(Json(Relays { relays, total: page.total, next }))
}

/// Relays at one place
#[derive(Serialize, ToSchema)]
pub(super) struct Place {
    /// Degrees
    latitude: f64,
    longitude: f64,
    city: Option<String>,
    country: Option<String>,
    up: usize,
    /// Relays in any other state
    other: usize,
    /// URLs of the first ten
    relays: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Map {
    places: Vec<Place>,
    /// Relays that match and whose place is known
    placed: usize,
    /// Relays that match
    total: usize,
}

/// List places and the relays there
#[utoipa::path(get, path = "/api/v1/map", params(SelectionParams), responses((status = 200, body = Map)))]
pub(super) async fn map(State(state): State<AppState>, Params(params): Params<SelectionParams>) -> Answer<Map> {
    let selected = state.catalog.select(&params.selection()?);
    let (mut places, mut placed) = (HashMap::<(i64, i64), Place>::new(), 0);
    for Entry { relay, facts } in &selected {
        let Some((latitude, longitude)) = facts.place else { continue };
        placed += 1;
        // A tenth of a degree is eleven kilometres: databases of places are no more exact.
        let tenth = |degrees: f64| (degrees * 10.0).round() as i64;
        let place = places.entry((tenth(latitude), tenth(longitude))).or_insert_with(|| Place {
            latitude,
            longitude,
            city: facts.city.clone(),
            country: facts.country.clone(),
            up: 0,
            other: 0,
            relays: vec![],
        });
        if relay.state == RelayState::Up {
            place.up += 1;
        } else {
            place.other += 1;
        }
        if place.relays.len() < NAMED {
            place.relays.push(relay.url.clone());
        }
    }
    let mut places: Vec<_> = places.into_values().collect();
    // In an order that does not change from answer to answer.
    places.sort_unstable_by(|a, b| a.relays.cmp(&b.relays));
    Ok(Json(Map { places, placed, total: selected.len() }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Checked {
    at: i64,
    up: bool,
    rtt_open_ms: Option<i64>,
    rtt_read_ms: Option<i64>,
    rtt_write_ms: Option<i64>,
}

impl From<&Visit> for Checked {
    fn from(visit: &Visit) -> Self {
        let [rtt_open_ms, rtt_read_ms, rtt_write_ms] = visit.rtt_ms;
        Self { at: visit.at, up: visit.up, rtt_open_ms, rtt_read_ms, rtt_write_ms }
    }
}

/// A version of a software that a relay said it runs
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Release {
    software: Option<String>,
    version: Option<String>,
    /// The first and the last check that found it
    since: i64,
    until: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RelayDetail {
    #[serde(flatten)]
    relay: RelayRow,
    /// Uptime, percentiles of round trips, and state changes
    #[schema(value_type = Object)]
    history: Value,
    /// Times over which it was down, newest first
    incidents: Vec<Incident>,
    /// What it ran, newest first
    releases: Vec<Release>,
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
    /// What was seen of its completeness hints (NIP-67): `confirmed` or `refuted`; null if it gives none
    hints: Option<&'static str>,
    /// How far back its history goes, as measured; null if it was not measured
    retention: Option<Retention>,
    /// Why it is neither checked nor read, in the state `opted-out`
    opted_out: Option<String>,
}

/// Get one relay, with its history and coverage
///
/// The URL in the path is percent-encoded: `/api/v1/relays/wss%3A%2F%2Frelay.example%2F`.
#[utoipa::path(get, path = "/api/v1/relays/{url}", params(("url" = String, Path, description = "Its URL")),
    responses((status = 200, body = RelayDetail), (status = 404, description = "It is not known here")))]
pub(super) async fn relay(State(state): State<AppState>, Path(url): Path<String>) -> Answer<RelayDetail> {
    let (address, entry) = known(&state, &url).await?;
    let url = address.as_str();
    let at = now();
    let documents = run_query(state.checks.documents(url)).await?;
    let visits = run_query(state.checks.visits(url, 0, History::VISITS)).await?;
    let failures = run_query(state.checks.failures(url, 0, History::VISITS)).await?;
    let releases = run_query(state.checks.nip11_history(url, MAX_DOCUMENTS)).await?;
    let cap = run_query(OBSERVED_CAP.get(state.states.as_ref(), url)).await?;
    let hints = run_query(HINTS.get(state.states.as_ref(), url)).await?;
    let retention = run_query(RETENTION.get(state.states.as_ref(), url)).await?;
    let opted_out = match entry.relay.state {
        RelayState::OptedOut => run_query(OPTED_OUT.get(state.states.as_ref(), url)).await?,
        _ => None,
    };
    let parsed = |kind: DocumentType| {
        let document = documents.iter().find(|document| document.kind == kind);
        document.and_then(|document| serde_json::from_str(&document.data).ok())
    };
    let mut incidents = history::incidents(&visits, &failures);
    incidents.truncate(MAX_INCIDENTS);
    let history = History::of(&visits, at);
    let [(_, uptime_day), (_, uptime_week), (_, uptime_month), _] = history.uptime;
    let days = history::daily(&visits, DAYS, at);
    let relay = RelayRow { uptime_day, uptime_week, uptime_month, days, ..RelayRow::of(&entry, 0) };
    Ok(Json(RelayDetail {
        checks: visits.iter().take_while(|visit| visit.at >= at - A_WEEK).take(SHOWN).map(Checked::from).collect(),
        history: history.to_json(),
        incidents,
        releases: releases_of(&releases),
        nip11: parsed(DocumentType::Nip11),
        nip66: parsed(DocumentType::Nip66),
        coverage: covered(&state, Some(url)).await?,
        observed_cap: cap.map(|cap| cap.events as u64),
        hints: hints.map(Hints::as_str),
        retention: retention.map(|Stored(retention)| retention),
        opted_out: opted_out.map(|objection| objection.reason()),
        relay,
    }))
}

/// Returns what a relay ran, newest first, from its documents, the last seen first.
fn releases_of(documents: &[DocumentSpan]) -> Vec<Release> {
    let mut releases: Vec<Release> = Vec::new();
    for DocumentSpan { since, until, data } in documents {
        let document: Value = serde_json::from_str(data).unwrap_or_default();
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let (software, version) = (text("software"), text("version"));
        match releases.iter_mut().find(|release| release.software == software && release.version == version) {
            Some(release) => release.since = release.since.min(*since),
            None => releases.push(Release { software, version, since: *since, until: *until }),
        }
    }
    releases
}

/// Returns a relay that is known.
async fn known(state: &AppState, url: &str) -> Result<(RelayUrl, Entry), Problem> {
    let address = path_address(state, url)?;
    let relay = run_query(state.relays.relay(address.as_str())).await?;
    let Some(relay) = relay else { return Err(unknown(address.as_str())) };
    let entry = run_query(state.catalog.entry(state.checks.as_ref(), relay)).await?;
    Ok((address, entry))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChecksParams {
    /// Not before this time, in unix seconds; by default a week ago
    since: Option<i64>,
}

/// List the checks of a relay, newest first, at most 5000
#[utoipa::path(get, path = "/api/v1/relays/{url}/checks", params(("url" = String, Path, description = "Its URL"), ChecksParams),
    responses((status = 200, body = Vec<Checked>), (status = 404, description = "It is not known here")))]
pub(super) async fn checks(
    State(state): State<AppState>,
    Path(url): Path<String>,
    Params(params): Params<ChecksParams>,
) -> Answer<Vec<Checked>> {
    let (address, _) = known(&state, &url).await?;
    let since = params.since.unwrap_or_else(|| now() - A_WEEK);
    let visits = run_query(state.checks.visits(address.as_str(), since, History::VISITS)).await?;
    Ok(Json(visits.iter().map(Checked::from).collect()))
}

/// Get how far back the history of a relay goes, as measured on events of some of its authors
#[utoipa::path(get, path = "/api/v1/relays/{url}/retention", params(("url" = String, Path, description = "Its URL")),
    responses((status = 200, body = Retention), (status = 404, description = "It is not known here, or was not measured")))]
pub(super) async fn retention(State(state): State<AppState>, Path(url): Path<String>) -> Answer<Retention> {
    let (address, _) = known(&state, &url).await?;
    let measured = run_query(RETENTION.get(state.states.as_ref(), address.as_str())).await?;
    let unmeasured = || Problem::new(StatusCode::NOT_FOUND, format!("{address} was not measured so far"));
    measured.map(|Stored(retention)| Json(retention)).ok_or_else(unmeasured)
}

/// Events of one kind
#[derive(Serialize, ToSchema)]
pub(super) struct KindCount {
    pub(super) kind: u16,
    pub(super) events: u64,
}

/// Count the archived events of a relay by kind, of the ten kinds that are most frequent in the archive
#[utoipa::path(get, path = "/api/v1/relays/{url}/kinds", params(("url" = String, Path, description = "Its URL")),
    responses((status = 200, body = Vec<KindCount>), (status = 404, description = "It is not known here")))]
pub(super) async fn kinds(State(state): State<AppState>, Path(url): Path<String>) -> Answer<Vec<KindCount>> {
    let (address, _) = known(&state, &url).await?;
    let relays = [address.as_str().to_owned()];
    // All within the time limit of one query.
    let count = async {
        let mut kinds: Vec<_> = state.agent.archive.stats().await?.kinds.into_iter().collect();
        kinds.sort_by_key(|(kind, events)| (-events, *kind));
        let mut counts = Vec::new();
        for kind in kinds.into_iter().take(KINDS).filter_map(|(kind, _)| u16::try_from(kind).ok()) {
            let filter = Filter::new().kind(Kind::from(kind));
            let events = state.agent.archive.count(&[filter], View::Client { now: now() }, &relays).await?;
            counts.push(KindCount { kind, events });
        }
        Ok(counts)
    };
    let mut counts = run_query(count).await?;
    counts.retain(|count| count.events > 0);
    counts.sort_by_key(|count| (std::cmp::Reverse(count.events), count.kind));
    Ok(Json(counts))
}

/// Get a badge with the state and the uptime of a relay, to embed in a page
#[utoipa::path(get, path = "/api/v1/relays/{url}/badge.svg", params(("url" = String, Path, description = "Its URL")),
    responses((status = 200, content_type = "image/svg+xml", body = String), (status = 404, description = "It is not known here")))]
pub(super) async fn badge(
    State(state): State<AppState>,
    Path(url): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let (_, entry) = known(&state, &url).await?;
    let svg = badge::svg(entry.relay.state, entry.facts.uptime[2]);
    Ok(([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "max-age=300")], svg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_document_with_the_same_software_are_one_release() {
        let span = |since, until, data: &str| DocumentSpan { since, until, data: data.to_owned() };
        let documents = [
            span(50, 90, r#"{"software":"a","version":"2","name":"x"}"#),
            span(30, 45, r#"{"software":"a","version":"2"}"#),
            span(20, 25, r#"{"software":["no text"],"version":"1"}"#),
            span(10, 15, "no JSON"),
        ];
        let release = |software: Option<&str>, version: Option<&str>, since, until| Release {
            software: software.map(str::to_owned),
            version: version.map(str::to_owned),
            since,
            until,
        };
        let wanted =
            [release(Some("a"), Some("2"), 30, 90), release(None, Some("1"), 20, 25), release(None, None, 10, 15)];
        assert_eq!(releases_of(&documents), wanted);
    }
}
