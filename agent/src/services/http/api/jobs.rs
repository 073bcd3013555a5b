//! Jobs (NIP-90).

use axum::Json;
use axum::extract::State;
use brotr_storage::{JobRecord, JobStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::AppState;
use super::{Answer, Params, rows, run_query, words};

/// The most characters of an input or a reason.
const MAX_TEXT: usize = 300;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsParams {
    /// Only jobs with this status: received, working, unpaid, answered, failed or cancelled
    #[param(pattern = "^(received|working|unpaid|answered|failed|cancelled)?$")]
    status: Option<String>,
    /// 1 to 1000; default 100
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct JobRow {
    /// Event id of the request
    id: String,
    kind: u16,
    /// Public key of the customer
    customer: String,
    received_at: i64,
    /// When it was last started; null while it waits
    begun_at: Option<i64>,
    ended_at: Option<i64>,
    #[schema(value_type = String)]
    status: JobStatus,
    /// Whether the request, and so its answer, is encrypted
    encrypted: bool,
    /// The first input of the request, up to 300 characters; null without inputs, or if the request is encrypted
    input: Option<String>,
    /// Why it failed, up to 300 characters; null if it did not or the request is encrypted
    error: Option<String>,
}

impl From<JobRecord> for JobRow {
    fn from(JobRecord { job, begun_at, ended_at, failure }: JobRecord) -> Self {
        let request: Value = serde_json::from_str(&job.request).unwrap_or_default();
        let tag = |event: &Value, name: &str, place: usize| {
            let mut tags = event["tags"].as_array().into_iter().flatten();
            let text = tags.find(|tag| tag[0] == name).and_then(|tag| tag[place].as_str().map(str::to_owned));
            text.filter(|text| !text.is_empty()).map(|text| text.chars().take(MAX_TEXT).collect::<String>())
        };
        let encrypted = request["tags"].as_array().into_iter().flatten().any(|tag| tag[0] == "encrypted");
        let answer: Value = failure.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let content = answer["content"].as_str().filter(|text| !text.is_empty());
        let content = content.map(|text| text.chars().take(MAX_TEXT).collect());
        Self {
            id: job.id.to_hex(),
            kind: job.kind,
            customer: job.customer.to_hex(),
            received_at: job.received_at,
            begun_at,
            ended_at,
            status: job.status,
            encrypted,
            input: if encrypted { None } else { tag(&request, "i", 1) },
            error: if encrypted { None } else { tag(&answer, "status", 2).or(content) },
        }
    }
}

/// List jobs, newest first
#[utoipa::path(get, path = "/api/v1/jobs", params(JobsParams), responses((status = 200, body = Vec<JobRow>)))]
pub(super) async fn jobs(State(state): State<AppState>, Params(params): Params<JobsParams>) -> Answer<Vec<JobRow>> {
    let all: Vec<_> = JobStatus::ALL.iter().map(|status| status.as_str()).collect();
    let status = words::<JobStatus>(params.status.as_deref(), "status", &all)?;
    let found = run_query(state.jobs.jobs(status.first().copied(), rows(params.limit)?)).await?;
    Ok(Json(found.into_iter().map(JobRow::from).collect()))
}
