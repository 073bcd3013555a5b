//! Removes events that the configuration does not keep; off by default.
//!
//! Removed events stay covered: they are not fetched again.

use crate::error::Result;
use brotr_storage::{EventStore, StateStore, Stats};
use nostr::{Filter, Kind, Timestamp};

use crate::agent::{Agent, now};
use crate::config::{KeepRule, Retention};
use crate::state::State;
use crate::telemetry::{EventsRemoved, Telemetry};

/// The mean size of an event when the files of PostgreSQL were fullest, in bytes.
const WEIGHT: State<i64> = State::new("retention", "weight");
/// With fewer events the mean size is not known well enough.
const ENOUGH: i64 = 10_000;

/// The stores that this service needs.
pub trait Stores: EventStore + StateStore + 'static {}
impl<T: EventStore + StateStore + 'static + ?Sized> Stores for T {}

/// Makes a pass once per interval. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn run(agent: Agent<impl Stores + ?Sized>) -> Result<()> {
    loop {
        pass(agent.archive.as_ref(), &agent.config.retention, now()).await?;
        tokio::time::sleep(agent.config.retention.interval.get()).await;
    }
}

/// Removes what each rule says is too old, and then the oldest events of an archive that is too large.
async fn pass(archive: &(impl Stores + ?Sized), config: &Retention, now: i64) -> Result<()> {
    for rule in &config.rules {
        let Some(filter) = too_old(rule, &archive.stats().await?, now) else { continue };
        let removed = archive.remove(&filter, u64::MAX).await?;
        EventsRemoved { removed, rule: "retention.rules" }.emit();
    }
    if let Some(max_size) = config.max_size {
        let excess = excess(archive, max_size.as_u64()).await?;
        if excess > 0 {
            let removed = archive.remove(&Filter::new(), excess).await?;
            EventsRemoved { removed, rule: "retention.max_size" }.emit();
        }
    }
    Ok(())
}

/// Returns the filter of events that a rule removes; `None` if there can be none.
fn too_old(rule: &KeepRule, stats: &Stats, now: i64) -> Option<Filter> {
    let cutoff = u64::try_from(now - rule.max_age.as_secs()).ok()?;
    let filter = Filter::new().until(Timestamp::from(cutoff));
    if rule.kinds.is_none() && rule.except.is_empty() {
        return Some(filter);
    }
    // A filter can list kinds, but not exclude any.
    let there = stats.kinds.keys().filter_map(|kind| u16::try_from(*kind).ok());
    let kinds: Vec<Kind> = there
        .filter(|kind| rule.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind)) && !rule.except.contains(kind))
        .map(Kind::from)
        .collect();
    (!kinds.is_empty()).then(|| filter.kinds(kinds))
}

/// Returns how many events exceed `max_size` bytes.
async fn excess(archive: &(impl Stores + ?Sized), max_size: u64) -> Result<u64> {
    let stats = archive.stats().await?;
    let Ok(events @ 1..) = u64::try_from(stats.events) else { return Ok(0) };
    let used = match stats.free_bytes {
        Some(free) => stats.disk_bytes - free,
        // PostgreSQL reuses the space of removed events, and its files do not shrink: the mean size when they were fullest
        // tells how much of them is used.
        None if stats.events < ENOUGH => return Ok(0),
        None => {
            let weight = stats.disk_bytes / stats.events;
            let known = WEIGHT.get(archive, "event").await?;
            if known.is_none_or(|known| weight < known) {
                WEIGHT.set(archive, "event", &weight).await?;
            }
            known.map_or(weight, |known| weight.min(known)) * stats.events
        }
    };
    let used = u64::try_from(used).unwrap_or_default();
    let over = u128::from(used.saturating_sub(max_size));
    Ok(u64::try_from(over * u128::from(events) / u128::from(used.max(1))).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brotr_core::Event;
    use brotr_storage::{Archive, Batch, Options, View};
    use nostr::{EventBuilder, Keys};

    use super::*;

    const NOW: i64 = 1_000_000;

    async fn archive(dir: &tempfile::TempDir) -> Arc<dyn Archive> {
        let url = format!("sqlite://{}", dir.path().join("brotr.db").display());
        brotr_storage::open(&url, Options::default()).await.expect("opened")
    }

    async fn store(archive: &dyn Archive, dated: impl Iterator<Item = (u16, u64)>, content: &str) {
        let keys = Keys::generate();
        let sign = |(kind, at): (u16, u64)| {
            let event = EventBuilder::new(Kind::from(kind), content).custom_created_at(Timestamp::from(at));
            Event::from(&event.sign_with_keys(&keys).expect("signed")).verify().expect("verified")
        };
        archive.store(Batch { events: dated.map(sign).collect(), ..Batch::default() }).await.expect("stored");
    }

    async fn left(archive: &dyn Archive) -> Vec<(u16, i64)> {
        let page = archive.page(&Filter::new(), View::All, None, 1_000).await.expect("a page");
        page.iter().map(|event| (event.kind, event.created_at)).collect()
    }

    #[tokio::test]
    async fn old_events_are_removed_by_kind() {
        let dir = tempfile::tempdir().expect("a directory");
        let archive = archive(&dir).await;
        store(archive.as_ref(), [(1, 1_000), (1, 999_000), (7, 999_000), (7, 999_950), (0, 1)].into_iter(), "").await;
        let rule = |yaml: &str| serde_json::from_str::<KeepRule>(yaml).expect("a rule");
        let mut config = Retention::default();
        pass(archive.as_ref(), &config, NOW).await.expect("passed");
        assert_eq!(left(archive.as_ref()).await.len(), 5, "off by default");
        config.rules = vec![rule(r#"{"kinds": [7, 9], "max_age": "5m"}"#)];
        assert_eq!(config.floor(NOW), 0);
        pass(archive.as_ref(), &config, NOW).await.expect("passed");
        assert_eq!(left(archive.as_ref()).await, [(7, 999_950), (1, 999_000), (1, 1_000), (0, 1)]);
        config.rules = vec![rule(r#"{"except": [0], "max_age": "1h"}"#)];
        pass(archive.as_ref(), &config, NOW).await.expect("passed");
        assert_eq!(left(archive.as_ref()).await, [(7, 999_950), (1, 999_000), (0, 1)]);
        config.rules = vec![rule(r#"{"max_age": "2m"}"#)];
        assert_eq!(config.floor(NOW), NOW - 120);
        pass(archive.as_ref(), &config, NOW).await.expect("passed");
        assert_eq!(left(archive.as_ref()).await, [(7, 999_950)]);
    }

    #[tokio::test]
    async fn an_archive_above_max_size_loses_its_oldest_events() {
        let dir = tempfile::tempdir().expect("a directory");
        let archive = archive(&dir).await;
        // Content that does not compress.
        let content: String =
            (0..2_000_u32).map(|i| char::from(b'!' + (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 90)).collect();
        store(archive.as_ref(), (0..1_000).map(|i| (1, i)), &content).await;
        let stats = archive.stats().await.expect("stats");
        let half = (stats.disk_bytes - stats.free_bytes.expect("known")) / 2;
        let size = serde_json::from_value(serde_json::json!(format!("{half} B"))).expect("a size");
        let config = Retention { max_size: Some(size), ..Retention::default() };
        pass(archive.as_ref(), &config, NOW).await.expect("passed");
        let kept = left(archive.as_ref()).await;
        assert!((400..600).contains(&kept.len()), "{} kept", kept.len());
        assert!(kept.iter().all(|(_, at)| *at >= 1_000 - kept.len() as i64), "the newest are kept");
        for _ in 0..5 {
            pass(archive.as_ref(), &config, NOW).await.expect("passed");
        }
        // The free space of half-full pages is found out gradually: each pass removes a few more events, but not half of
        // them.
        let settled = left(archive.as_ref()).await.len();
        assert!(settled >= 400, "{settled} kept: what is freed is counted as used");
        pass(archive.as_ref(), &config, NOW).await.expect("passed");
        let again = left(archive.as_ref()).await.len();
        assert!(again + 5 >= settled, "{again} of {settled}: it does not come to rest");
    }
}
