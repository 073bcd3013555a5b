//! One line now and then that says how the agent is doing.

use std::io::IsTerminal;
use std::time::Duration;

use brotr_storage::{CoverageStore, EventStore};
use tokio::time::Instant;

use crate::agent::{Agent, now};
use crate::error::Result;
use crate::telemetry::{Summary, SweepProgress, Telemetry};

/// The first line comes after this: what happens first is what a newcomer looks at.
const FIRST: Duration = Duration::from_secs(10);
/// Interval of the progress of the first sweep, on a terminal.
const SWEEP: Duration = Duration::from_secs(5);
/// A sweep in which no relay was checked for this long is over.
const STANDS_STILL: Duration = Duration::from_secs(300);

/// The stores that this needs.
pub trait Stores: EventStore + CoverageStore + 'static {}
impl<T: EventStore + CoverageStore + 'static + ?Sized> Stores for T {}

/// Logs a summary every `every`, which is `log.summary`. It costs what `brotr stats` costs. Runs forever.
///
/// # Errors
/// Never; a failed query is repeated with the next line.
pub async fn run(agent: Agent<impl Stores + ?Sized>, every: Duration) -> Result<()> {
    let shows_sweep = agent.config.monitor.enabled && std::io::stderr().is_terminal();
    let sweep = async {
        if shows_sweep {
            sweep(&agent).await;
        }
    };
    tokio::join!(summarize(&agent, every), sweep).0
}

/// Logs how far the first check of every relay is, until it is done, or stands still: relays of a network that is off are not
/// checked.
async fn sweep(agent: &Agent<impl Stores + ?Sized>) {
    let (began, mut last, mut moved) = (Instant::now(), 0, Instant::now());
    while moved.elapsed() < STANDS_STILL {
        tokio::time::sleep(SWEEP).await;
        let Ok(stats) = agent.archive.stats().await else { continue };
        let total: i64 = stats.relays.values().sum();
        let checked = total - stats.relays.get("new").copied().unwrap_or_default();
        if total > 0 && checked == total {
            return;
        }
        if checked == last {
            continue;
        }
        (last, moved) = (checked, Instant::now());
        let seconds = i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
        let left = (checked > 0).then(|| (total - checked).saturating_mul(seconds) / checked);
        SweepProgress { checked, total, left }.emit();
    }
}

async fn summarize(agent: &Agent<impl Stores + ?Sized>, every: Duration) -> Result<()> {
    let mut before: Option<(i64, Instant)> = None;
    loop {
        let wait = if before.is_none() { every.min(FIRST) } else { every };
        match take(agent).await {
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
