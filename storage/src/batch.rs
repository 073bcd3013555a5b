//! Batches of events, and what they prove.

use brotr_core::{Covered, Gap, Interval, Network, Verified};
use nostr::EventId;

use crate::StorageError;
use crate::prepare::{Prepared, Preparer};

/// Events of one relay, stored in one transaction together with the coverage that claims them.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Where the events were seen; `None` for a file.
    pub relay: Option<(String, Network)>,
    /// When they were seen.
    pub seen_at: i64,
    /// Verified events; those already stored become sightings.
    pub events: Vec<Verified>,
    /// The same, prepared by [`EventStore::preparer`](crate::EventStore::preparer) of the archive that stores them.
    pub prepared: Vec<Prepared>,
    /// Ids of stored events: sightings only.
    pub known: Vec<EventId>,
    /// Ids that the relay did not hold at `seen_at`: earlier sightings are removed.
    pub gone: Vec<EventId>,
    /// The filter of the claims, as JSON.
    pub filter: String,
    /// Spans that are complete with this batch and earlier ones.
    pub covered: Vec<Covered>,
    /// Spans that could not be proven. Where a gap and a claim of one batch overlap, the gap counts; earlier claims stay.
    pub gaps: Vec<Gap>,
    /// Spans whose earlier proof was wrong, under the same filter. They are no longer covered, unless this batch proves them
    /// again.
    pub refuted: Vec<Interval>,
}

/// The result of storing a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// Events that were new.
    pub stored: usize,
    /// Events that were stored before.
    pub known: usize,
}

/// A batch, ready to be written. `rest` has no events.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    pub(crate) events: Vec<Prepared>,
    pub(crate) rest: Batch,
}

impl PreparedBatch {
    /// Prepares the events of a batch that are not prepared, on the blocking pool.
    pub(crate) async fn new(mut rest: Batch, preparer: &Preparer) -> Result<Self, StorageError> {
        let mut events = std::mem::take(&mut rest.prepared);
        let verified = std::mem::take(&mut rest.events);
        if !verified.is_empty() {
            let preparer = preparer.clone();
            let prepare = move || verified.into_iter().map(|event| preparer.prepare(event)).collect::<Vec<_>>();
            events.extend(tokio::task::spawn_blocking(prepare).await.map_err(|_| StorageError::Closed)?);
        }
        Ok(Self { events, rest })
    }

    pub(crate) fn relay(&self) -> Option<(&str, Network)> {
        self.rest.relay.as_ref().map(|(url, network)| (url.as_str(), *network))
    }
}
