//! What can be done to a batch before it meets the database, on any core.

use brotr_core::{Event, Network, Verified, indexed_tags};

use crate::archive::Options;
use crate::rows::Batch;
use crate::search::searchable;
use crate::tag_key::tag_key;
use crate::view::Marks;

/// A new event, ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) event: Event,
    /// Tags and content as the backend stores them.
    pub(crate) payload: Vec<u8>,
    /// The keys of its indexed tags, without duplicates.
    pub(crate) tags: Vec<i64>,
    pub(crate) marks: Marks,
    /// The terms of its text, if that is indexed.
    pub(crate) text: Option<String>,
}

impl Prepared {
    pub(crate) fn new(verified: Verified, options: Options, payload: impl Fn(&Event) -> Vec<u8>) -> Self {
        let event = verified.into_event();
        let mut tags: Vec<i64> = indexed_tags(&event.tags).map(|(letter, value)| tag_key(letter, value)).collect();
        tags.sort_unstable();
        tags.dedup();
        let marks = Marks::of(&event);
        let payload = payload(&event);
        let text = options.indexes_text().then(|| searchable(event.kind, &event.tags, &event.content)).flatten();
        Self { event, payload, tags, marks, text }
    }
}

/// A batch, ready to be written. `rest` has no events.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    pub(crate) events: Vec<Prepared>,
    pub(crate) rest: Batch,
}

impl PreparedBatch {
    pub(crate) fn new(mut batch: Batch, options: Options, payload: impl Fn(&Event) -> Vec<u8>) -> Self {
        let events = std::mem::take(&mut batch.events);
        let events = events.into_iter().map(|verified| Prepared::new(verified, options, &payload)).collect();
        Self { events, rest: batch }
    }

    pub(crate) fn relay(&self) -> Option<(&str, Network)> {
        self.rest.relay.as_ref().map(|(url, network)| (url.as_str(), *network))
    }
}

/// The tags that are left of an event in an archive that keeps no contents: name and value of the indexed ones.
pub(crate) fn tagvalues(event: &Event) -> Vec<Vec<String>> {
    indexed_tags(&event.tags).map(|(letter, value)| vec![letter.to_string(), value.to_owned()]).collect()
}
