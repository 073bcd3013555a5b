//! What is proven to be archived, and what is missing.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::AppState;
use super::super::access::Problem;
use super::address::address;
use super::{Answer, Params, run_query};

/// Coverage and gaps of a relay and filter
#[derive(Serialize, ToSchema)]
pub(super) struct Coverage {
    relay: String,
    #[schema(value_type = Object)]
    filter: Value,
    covered: Vec<Span>,
    gaps: Vec<Missing>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Span {
    since: i64,
    until: i64,
    method: String,
    proven_at: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Missing {
    since: i64,
    until: i64,
    reason: String,
    /// Events seen in it, if known
    count: Option<i64>,
    tried_at: i64,
}

pub(super) async fn covered(state: &AppState, relay: Option<&str>) -> Result<Vec<Coverage>, Problem> {
    let reports = run_query(state.coverage.coverage(relay)).await?;
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
pub(super) struct CoverageParams {
    /// The relay's URL
    relay: String,
}

/// List spans of time in which all events of a relay are archived, and the gaps between them
#[utoipa::path(get, path = "/api/v1/coverage", params(CoverageParams), responses((status = 200, body = Vec<Coverage>)))]
pub(super) async fn coverage(
    State(state): State<AppState>,
    Params(params): Params<CoverageParams>,
) -> Answer<Vec<Coverage>> {
    let address = address(&state, &params.relay)?;
    Ok(Json(covered(&state, Some(address.as_str())).await?))
}
