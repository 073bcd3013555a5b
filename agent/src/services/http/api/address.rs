//! URLs of relays in requests.

use axum::http::StatusCode;
use brotr_core::RelayUrl;

use super::super::AppState;
use super::super::access::Problem;

/// Parses the URL of a relay that a parameter gives.
pub(super) fn address(state: &AppState, url: &str) -> Result<RelayUrl, Problem> {
    RelayUrl::parse(url, state.agent.dialer.guard()).map_err(|error| Problem::wrong(format!("{url:?}: {error}")))
}

/// Parses the URL of a relay in a path; one that is malformed is answered with 404.
pub(super) fn path_address(state: &AppState, url: &str) -> Result<RelayUrl, Problem> {
    address(state, url).map_err(|problem| problem.with_status(StatusCode::NOT_FOUND))
}

/// Says that a relay is not known.
pub(super) fn unknown(url: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("{url} is not known here"))
}
