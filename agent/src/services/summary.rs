//! One line now and then that says how the agent is doing.

use std::time::Duration;

use brotr_storage::{CoverageStore, EventStore};
use tokio::time::Instant;

use crate::agent::{Agent, now};
use crate::error::Result;
use crate::telemetry::{Summary, Telemetry};

/// The first line comes after this: what happens first is what a newcomer looks at.
const FIRST: Duration = Duration::from_secs(10);

/// The stores that this needs.
pub trait Stores: EventStore + CoverageStore + 'static {}
impl<T: EventStore + CoverageStore + 'static + ?Sized> Stores for T {}

/// Logs a summary every `every`, which is `log.summary`. It costs what `brotr stats` costs. Runs forever.
///
/// # Errors
/// Never; a failed query is repeated with the next line.
pub async fn run(agent: Agent<impl Stores + ?Sized>, every: Duration) -> Result<()> {
    let mut before: Option<(i64, Instant)> = None;
    loop {
        let wait = if before.is_none() { every.min(FIRST) } else { every };
        match take(&agent).await {
            Ok(mut summary) => {
                let at = Instant::now();
                if let Some((events, since)) = before.replace((summary.events, at)) {
                    summary.added = summary.events - events;
                    summary.per_second = summary.added as f64 / at.duration_since(since).as_secs_f64().max(1.0);
                    summary.emit();
                }
            }
            Err(error) => tracing::warn!(%error, "failed to summarize"),
        }
        tokio::time::sleep(wait).await;
    }
}

async fn take(agent: &Agent<impl Stores + ?Sized>) -> Result<Summary> {
    let stats = agent.archive.stats().await?;
    let progress = agent.archive.progress(now()).await?;
    let relays = |state: &str| stats.relays.get(state).copied().unwrap_or_default();
    let jobs = |status: &str| stats.jobs.get(status).copied().unwrap_or_default();
    Ok(Summary {
        up: relays("up"),
        down: relays("down"),
        unchecked: relays("new"),
        events: stats.events,
        added: 0,
        per_second: 0.0,
        covered: progress.relays,
        lag: progress.lag,
        gaps: progress.gaps,
        answered: jobs("answered"),
        open: jobs("received") + jobs("working"),
        outbox: stats.outbox,
    })
}
