//! Summaries: the network by what its relays are, events by kind, coverage by how it was proven, and the agent itself.

use std::collections::HashMap;
use std::hash::Hash;

use axum::Json;
use axum::extract::State;
use brotr_core::RelayState;
use brotr_storage::CoverageTotal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::AppState;
use super::super::samples::Sample;
use super::relays::{KindCount, SelectionParams};
use super::{Answer, Params, run_query};
use crate::agent::now;
use crate::config::Profile;
use crate::manners::CrawlRate;

/// The most values of one property in a summary of relays.
const MAX_VALUES: usize = 100;

/// A value, and how many relays have it
#[derive(Serialize, ToSchema)]
pub(super) struct Share {
    value: String,
    relays: usize,
    /// Those of them that are up
    up: usize,
}

/// Relays by their properties; each list has the 100 most frequent values
#[derive(Serialize, ToSchema)]
pub(super) struct RelaySummary {
    total: usize,
    states: Vec<Share>,
    networks: Vec<Share>,
    /// By name, without the address of its repository
    software: Vec<Share>,
    /// As claimed
    nips: Vec<Share>,
    countries: Vec<Share>,
    /// What they require of clients
    requires: Vec<Share>,
    /// Failure codes of those that are down
    failures: Vec<Share>,
}

/// Counts values, most frequent first.
struct Counter<T>(HashMap<T, (usize, usize)>);

impl<T: Hash + Eq + Ord + ToString> Counter<T> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn add(&mut self, value: T, is_up: bool) {
        let (relays, up) = self.0.entry(value).or_default();
        *relays += 1;
        *up += usize::from(is_up);
    }

    fn shares(self) -> Vec<Share> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_unstable_by(|(a, (n, _)), (b, (m, _))| m.cmp(n).then_with(|| a.cmp(b)));
        all.truncate(MAX_VALUES);
        all.into_iter().map(|(value, (relays, up))| Share { value: value.to_string(), relays, up }).collect()
    }
}

/// Count relays by state, network, software, NIP, country, requirement and failure
#[utoipa::path(get, path = "/api/v1/summary/relays", params(SelectionParams), responses((status = 200, body = RelaySummary)))]
pub(super) async fn relays(
    State(state): State<AppState>,
    Params(params): Params<SelectionParams>,
) -> Answer<RelaySummary> {
    let selected = state.catalog.select(&params.selection()?);
    let (mut states, mut networks) = (Counter::new(), Counter::new());
    let (mut software, mut nips, mut countries) = (Counter::new(), Counter::new(), Counter::new());
    let (mut requires, mut failures) = (Counter::new(), Counter::new());
    for entry in &selected {
        let is_up = entry.relay.state == RelayState::Up;
        states.add(entry.relay.state, is_up);
        networks.add(entry.relay.network.as_str(), is_up);
        entry.facts.software_name().into_iter().for_each(|name| software.add(name, is_up));
        entry.facts.nips.iter().for_each(|nip| nips.add(*nip, is_up));
        entry.facts.country.iter().for_each(|country| countries.add(country, is_up));
        entry.facts.requires.iter().for_each(|word| requires.add(word, is_up));
        entry.facts.failure.iter().for_each(|code| failures.add(code, is_up));
    }
    Ok(Json(RelaySummary {
        total: selected.len(),
        states: states.shares(),
        networks: networks.shares(),
        software: software.shares(),
        nips: nips.shares(),
        countries: countries.shares(),
        requires: requires.shares(),
        failures: failures.shares(),
    }))
}

/// Count events by kind, most frequent first
#[utoipa::path(get, path = "/api/v1/summary/kinds", responses((status = 200, body = Vec<KindCount>)))]
pub(super) async fn kinds(State(state): State<AppState>) -> Answer<Vec<KindCount>> {
    let kinds = run_query(state.agent.archive.stats()).await?.kinds.into_iter();
    let count =
        |(kind, events): (i64, i64)| Some(KindCount { kind: kind.try_into().ok()?, events: events.try_into().ok()? });
    let mut kinds: Vec<_> = kinds.filter_map(count).collect();
    kinds.sort_by_key(|count| (std::cmp::Reverse(count.events), count.kind));
    Ok(Json(kinds))
}

/// How much of the relays is proven to be archived
#[derive(Serialize, ToSchema)]
pub(super) struct CoverageSummary {
    /// Relays of which anything is proven
    relays: i64,
    /// Gaps of all relays
    gaps: i64,
    /// Average seconds by which the coverage of relays that are up ends before now
    lag: Option<i64>,
    /// Claims by method
    methods: Vec<Total>,
    /// Gaps by reason
    reasons: Vec<Total>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Total {
    /// The method, or the reason
    name: String,
    /// Relays that have any
    relays: i64,
    /// Spans of time
    spans: i64,
}

impl From<CoverageTotal> for Total {
    fn from(CoverageTotal { name, relays, spans }: CoverageTotal) -> Self {
        Self { name, relays, spans }
    }
}

/// Count relays, claims and gaps: what is proven by which method, and missing for which reason
#[utoipa::path(get, path = "/api/v1/summary/coverage", responses((status = 200, body = CoverageSummary)))]
pub(super) async fn coverage(State(state): State<AppState>) -> Answer<CoverageSummary> {
    let progress = run_query(state.coverage.progress(now())).await?;
    let methods = run_query(state.coverage.claims_by_method()).await?;
    let reasons = run_query(state.coverage.gaps_by_reason()).await?;
    let totals = |list: Vec<CoverageTotal>| list.into_iter().map(Total::from).collect();
    Ok(Json(CoverageSummary {
        relays: progress.relays,
        gaps: progress.gaps,
        lag: progress.lag,
        methods: totals(methods),
        reasons: totals(reasons),
    }))
}

/// Get statistics of the archive
#[utoipa::path(get, path = "/api/v1/stats", responses((status = 200, body = Object)))]
pub(super) async fn stats(State(state): State<AppState>) -> Answer<Value> {
    Ok(Json(serde_json::to_value(run_query(state.agent.archive.stats()).await?).unwrap_or_default()))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// Not before this time, in unix seconds; by default a week before `until`
    since: Option<i64>,
    /// Not after this time; by default now
    until: Option<i64>,
}

/// Get the agent's numbers over time, oldest first
///
/// There is a sample every five minutes of the last week, every hour of the last 90 days, and every day of the last ten years:
/// the answer has the finest of these that reaches back to `since`. While the agent is stopped, no samples are taken.
#[utoipa::path(get, path = "/api/v1/history", params(HistoryParams), responses((status = 200, body = Vec<Sample>)))]
pub(super) async fn history(
    State(state): State<AppState>,
    Params(params): Params<HistoryParams>,
) -> Answer<Vec<Sample>> {
    let until = params.until.unwrap_or_else(now);
    let since = params.since.unwrap_or_else(|| until.saturating_sub(7 * 86_400));
    Ok(Json(state.live.samples().between(since, until)))
}

/// The agent
#[derive(Serialize, ToSchema)]
pub(super) struct Agent {
    /// Its name: `identity.name`
    name: Option<String>,
    npub: String,
    pubkey: String,
    version: &'static str,
    /// When it started, in unix seconds
    started_at: i64,
    /// bigbrotr or lilbrotr
    #[schema(value_type = String)]
    profile: Profile,
    /// Whether texts can be searched
    search: bool,
    /// How much it asks of relays, at most
    crawl: CrawlRate,
}

/// Get who this agent is
#[utoipa::path(get, path = "/api/v1/agent", responses((status = 200, body = Agent)))]
pub(super) async fn agent(State(state): State<AppState>) -> Json<Agent> {
    let config = &state.agent.config;
    Json(Agent {
        name: config.identity.name.clone(),
        npub: state.agent.signer.npub(),
        pubkey: state.agent.signer.public_key().to_hex(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: state.started_at,
        profile: config.profile,
        search: config.storage.search,
        crawl: CrawlRate::of(config),
    })
}
