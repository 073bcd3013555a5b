//! Samples of the agent's numbers, kept for years: every five minutes of a week, every hour of ninety days, every day of ten years.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use brotr_storage::{Progress, StateStore, Stats, StorageError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::{self, Json};

/// Numbers of the agent at one time
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Sample {
    /// Unix seconds
    pub(super) at: i64,
    /// Relays that are up
    pub(super) up: i64,
    /// Relays that are down
    pub(super) down: i64,
    /// Events in the archive
    pub(super) events: i64,
    /// Average seconds by which the relays' coverage ends before `at`; null without coverage
    pub(super) lag: Option<i64>,
    /// Gaps in the coverage
    pub(super) gaps: i64,
    /// Pairs of event and relay; null in samples of older versions, as are the following
    pub(super) sightings: Option<i64>,
    /// Size of the archive on disk, in bytes
    pub(super) disk_bytes: Option<i64>,
    /// Jobs that were answered
    pub(super) answered: Option<i64>,
    /// Jobs that failed
    pub(super) failed: Option<i64>,
    /// Events that wait to be sent
    pub(super) outbox: Option<i64>,
    /// Resident memory of the agent, in bytes
    pub(super) resident_bytes: Option<i64>,
}

impl Sample {
    pub(super) fn new(at: i64, stats: &Stats, progress: &Progress, resident_bytes: Option<u64>) -> Self {
        let relays = |state: &str| stats.relays.get(state).copied().unwrap_or_default();
        let jobs = |status: &str| Some(stats.jobs.get(status).copied().unwrap_or_default());
        Self {
            at,
            up: relays("up"),
            down: relays("down"),
            events: stats.events,
            lag: progress.lag,
            gaps: progress.gaps,
            sightings: Some(stats.sightings),
            disk_bytes: Some(stats.disk_bytes),
            answered: jobs("answered"),
            failed: jobs("failed"),
            outbox: Some(stats.outbox),
            resident_bytes: resident_bytes.and_then(|bytes| bytes.try_into().ok()),
        }
    }
}

/// A resolution in which samples are kept.
struct Tier {
    /// The key of its samples in the archive.
    key: &'static str,
    /// Seconds between two samples.
    step: i64,
    /// Number of samples.
    kept: usize,
}

/// Finest first.
const TIERS: [Tier; 3] = [
    Tier { key: "all", step: 300, kept: 2_016 },
    Tier { key: "hours", step: 3_600, kept: 2_160 },
    Tier { key: "days", step: 86_400, kept: 3_650 },
];

const STATE: state::State<Json<VecDeque<Sample>>> = state::State::new("http", "samples");

/// The samples of each tier, oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples([Mutex<VecDeque<Sample>>; TIERS.len()]);

impl Samples {
    /// Reads the samples that an earlier run stored.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub(super) async fn load(&self, states: &dyn StateStore) -> Result<(), StorageError> {
        for (tier, samples) in TIERS.iter().zip(&self.0) {
            if let Some(Json(kept)) = STATE.get(states, tier.key).await? {
                *samples.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            }
        }
        Ok(())
    }

    /// Adds a sample to the tiers whose last one is old enough, and stores those tiers.
    ///
    /// # Errors
    /// Fails if the archive cannot be written; the sample is kept in memory.
    pub(super) async fn add(&self, states: &dyn StateStore, sample: &Sample) -> Result<(), StorageError> {
        for (tier, samples) in TIERS.iter().zip(&self.0) {
            let kept = {
                let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
                if samples.back().is_some_and(|last| last.at + tier.step > sample.at) {
                    continue;
                }
                samples.push_back(sample.clone());
                while samples.len() > tier.kept {
                    samples.pop_front();
                }
                Json(samples.clone())
            };
            STATE.set(states, tier.key, &kept).await?;
        }
        Ok(())
    }

    /// Returns the samples of a span, both ends inclusive, oldest first, in the finest resolution that reaches back to its
    /// beginning, or as far as any does.
    pub(super) fn between(&self, since: i64, until: i64) -> Vec<Sample> {
        let tiers = self.0.each_ref().map(|samples| samples.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let oldest = |samples: &VecDeque<Sample>| samples.front().map_or(i64::MAX, |first| first.at);
        let first = tiers.iter().map(oldest).min().unwrap_or(i64::MAX).max(since);
        // The tiers do not begin in the same second.
        let reaches = |(tier, samples): &(&Tier, &VecDeque<Sample>)| oldest(samples) < first.saturating_add(tier.step);
        let chosen = TIERS.iter().zip(&tiers).find(reaches).map(|(_, samples)| samples);
        let within = |sample: &&Sample| (since..=until).contains(&sample.at);
        chosen.into_iter().flatten().filter(within).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn samples_are_kept_in_three_resolutions_and_survive_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}", dir.path().join("archive.db").display());
        let archive = brotr_storage::open(&url, brotr_storage::Options::default()).await.expect("opened");
        let samples = Samples::default();
        // Thirty days, sampled twice as often as needed, with a pause of ten hours.
        let (begin, end) = (1_700_000_000, 1_700_000_000 + 30 * 86_400);
        let pause = end - 20 * 3_600..end - 10 * 3_600;
        for at in (begin..=end).step_by(3_600).filter(|at| !pause.contains(at)) {
            samples.add(archive.as_ref(), &Sample { at, ..Sample::default() }).await.expect("stored");
        }
        for at in (end + 150..=end + 3_000).step_by(150) {
            samples.add(archive.as_ref(), &Sample { at, ..Sample::default() }).await.expect("stored");
        }
        let again = Samples::default();
        again.load(archive.as_ref()).await.expect("read");
        for samples in [&samples, &again] {
            let hour = samples.between(end, end + 3_000);
            assert_eq!(hour.len(), 11, "every five minutes");
            let all = samples.between(0, i64::MAX);
            assert!(all.first().is_some_and(|first| first.at == begin), "{:?}", all.first());
            assert_eq!(samples.between(begin + 1, begin + 86_400).len(), 24);
            assert!(samples.between(pause.start, pause.end - 1).is_empty());
            assert!(samples.between(end + 9_000, i64::MAX).is_empty());
        }
        assert!(Samples::default().between(0, i64::MAX).is_empty());
    }
}
