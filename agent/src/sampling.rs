//! Samples of events: the newest, and some of each earlier period, where each period is twice as long as the one after it. What a
//! sample costs depends neither on the number of events in the archive, nor on those that match.

use brotr_storage::{Cursor, EventStore, StorageError, View};
use nostr::{EventId, Filter, Timestamp};

/// The shortest earlier period.
const A_DAY: i64 = 86_400;
/// Events per query.
const PART: usize = 25;

/// How many events are sampled.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// Of the newest,
    pub newest: usize,
    /// and of each earlier period,
    pub earlier: usize,
    /// of this many.
    pub periods: u32,
}

impl Depth {
    /// Returns ids and times of a sample of the events that match a filter without bounds of time, as clients see them now.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn sample(
        self,
        events: &(impl EventStore + ?Sized),
        filter: &Filter,
        now: i64,
    ) -> Result<Vec<(EventId, i64)>, StorageError> {
        let view = View::Client { now };
        let mut sampled = newest(events, filter, view, now, self.newest).await?;
        if let [first, .., last] = sampled.as_slice()
            && sampled.len() == self.newest
        {
            let (newest_at, mut period, mut end) = (first.1, (first.1 - last.1).max(A_DAY), last.1 - 1);
            for _ in 0..self.periods {
                let earlier = newest(events, filter, view, end, self.earlier).await?;
                let Some((_, oldest)) = earlier.last().copied() else { break };
                sampled.extend(earlier);
                period = period.saturating_mul(2);
                end = (newest_at - period).min(oldest - 1);
            }
        }
        Ok(sampled)
    }
}

/// Reads ids and times of the newest events up to a time. The events, which may be large, are not kept.
///
/// # Errors
/// Fails if the archive cannot be queried.
pub async fn newest(
    events: &(impl EventStore + ?Sized),
    filter: &Filter,
    view: View,
    until: i64,
    most: usize,
) -> Result<Vec<(EventId, i64)>, StorageError> {
    let filter = filter.clone().until(Timestamp::from(until.max(0).cast_unsigned()));
    let (mut dates, mut cursor) = (Vec::new(), None);
    while dates.len() < most {
        let part = PART.min(most - dates.len());
        let page = events.page(&filter, view, cursor, part).await?;
        dates.extend(page.iter().map(|event| (event.id, event.created_at)));
        cursor = page.last().map(|last| Cursor { created_at: last.created_at, id: last.id });
        if page.len() < part {
            break;
        }
    }
    Ok(dates)
}
