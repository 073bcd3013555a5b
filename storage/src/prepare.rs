//! Preparation of events outside of the database, on any core.

use std::fmt;
use std::sync::Arc;

use brotr_core::{Event, Verified, indexed_tags};
use nostr::EventId;

use crate::options::Options;
use crate::search::searchable;
use crate::tag_key::tag_key;
use crate::view::Marks;

/// A verified event, ready to be written to the archive whose [`Preparer`] made it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The event. Tags and content may be empty, if the backend needs nothing but `payload`.
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
    /// Returns the event's id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.event.id
    }

    /// Returns the event's date, in unix seconds.
    #[must_use]
    pub fn created_at(&self) -> i64 {
        self.event.created_at
    }
}

/// Packs tags and content of an event. What is no longer needed of them may be taken out.
type Pack = dyn Fn(&mut Event) -> Vec<u8> + Send + Sync;

/// Prepares verified events for one archive: what can be done without the database, on the thread that has verified them.
/// Clones are cheap.
#[derive(Clone)]
pub struct Preparer {
    options: Options,
    pack: Arc<Pack>,
}

impl fmt::Debug for Preparer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Preparer {
    pub(crate) fn new(options: Options, pack: impl Fn(&mut Event) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { options, pack: Arc::new(pack) }
    }

    /// Prepares an event. It takes some microseconds of CPU time.
    #[must_use]
    pub fn prepare(&self, verified: Verified) -> Prepared {
        let mut event = verified.into_event();
        let mut tags: Vec<i64> = indexed_tags(&event.tags).map(|(letter, value)| tag_key(letter, value)).collect();
        tags.sort_unstable();
        tags.dedup();
        let marks = Marks::of(&event);
        let indexes_text = self.options.indexes_text();
        let text = indexes_text.then(|| searchable(event.kind, &event.tags, &event.content)).flatten();
        let payload = (self.pack)(&mut event);
        Prepared { event, payload, tags, marks, text }
    }
}

/// Returns the tags that an archive without contents keeps: name and value of the indexed ones.
pub(crate) fn tagvalues(tags: &[Vec<String>]) -> Vec<Vec<String>> {
    indexed_tags(tags).map(|(letter, value)| vec![letter.to_string(), value.to_owned()]).collect()
}
