//! Remembers what readers found out about ids, for the writer: an event that a relay returns is looked up before it is verified,
//! and would be looked up again when it is written.
//!
//! A hint is about one snapshot of the archive. It stays true as events are added, but not as they are removed, so a removal
//! discards all hints, and those of readers whose snapshot may be older than it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nostr::EventId;

/// The most ids that are remembered, some 100 bytes each. Before there are more, all are discarded: most are never asked for
/// again.
const MOST: usize = 131_072;

/// What a reader found out about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// It is that of the event with this number.
    Stored(i64),
    /// No event up to this number has it.
    NewAfter(i64),
}

/// The hints of one archive.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of removals.
    generation: u64,
    hints: HashMap<EventId, Hint>,
}

/// A number of removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Hints {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current generation. A reader must ask before its snapshot is taken.
    pub(super) fn generation(&self) -> Generation {
        Generation(self.state().generation)
    }

    /// Adds what a reader found out, unless events were removed since it asked for the generation.
    pub(super) fn add(&self, generation: Generation, hints: Vec<(EventId, Hint)>) {
        let mut state = self.state();
        if Generation(state.generation) != generation {
            return;
        }
        if state.hints.len() + hints.len() > MOST {
            state.hints.clear();
        }
        state.hints.extend(hints.into_iter().take(MOST));
    }

    /// Takes the hints about some ids, in their order.
    pub(super) fn take<'a>(&self, ids: impl IntoIterator<Item = &'a EventId>) -> Vec<Option<Hint>> {
        let mut state = self.state();
        ids.into_iter().map(|id| state.hints.remove(id)).collect()
    }

    /// Begins a new generation. To be called after a removal is committed, and before anybody else can write.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.hints.clear();
    }
}

#[cfg(test)]
mod tests {
    use brotr_core::Verified;

    use super::super::SqliteArchive;
    use super::*;
    use crate::{Archive, Batch, EventStore, Options, Stored};

    #[test]
    fn hints_are_given_once_and_not_after_a_removal() {
        let hints = Hints::default();
        let id = |n: u8| EventId::from_byte_array([n; 32]);
        let before = hints.generation();
        hints.add(before, vec![(id(1), Hint::Stored(7)), (id(2), Hint::NewAfter(9))]);
        let taken = hints.take(&[id(2), id(3), id(1)]);
        assert_eq!(taken, [Some(Hint::NewAfter(9)), None, Some(Hint::Stored(7))]);
        assert_eq!(hints.take(&[id(1)]), [None], "each is taken once");
        hints.add(before, vec![(id(1), Hint::Stored(7))]);
        hints.discard();
        assert_eq!(hints.take(&[id(1)]), [None], "the event may have been removed");
        hints.add(before, vec![(id(1), Hint::Stored(7))]);
        assert_eq!(hints.take(&[id(1)]), [None], "its reader may have begun before the removal");
        hints.add(hints.generation(), vec![(id(1), Hint::NewAfter(7))]);
        assert_eq!(hints.take(&[id(1)]), [Some(Hint::NewAfter(7))]);
    }

    #[test]
    fn hints_are_bounded() {
        let hints = Hints::default();
        for n in 0..=MOST as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            hints.add(hints.generation(), vec![(EventId::from_byte_array(id), Hint::Stored(1))]);
        }
        assert_eq!(hints.state().hints.len(), 1);
        let ids = (0..2 * MOST as u64).map(|n| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            (EventId::from_byte_array(id), Hint::Stored(1))
        });
        hints.add(hints.generation(), ids.collect());
        assert_eq!(hints.state().hints.len(), MOST);
    }

    #[tokio::test]
    async fn a_hint_from_before_the_event_was_stored_is_no_proof() {
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}", dir.path().join("brotr.db").display());
        let archive = SqliteArchive::open(&url, Options::default()).await.expect("opened");
        let keys = nostr::Keys::generate();
        let event = |n: usize| {
            let signed = nostr::EventBuilder::text_note(format!("note {n}")).sign_with_keys(&keys).expect("signed");
            brotr_core::Event::from(&signed).verify().expect("signed")
        };
        let events: Vec<_> = (0..3).map(event).collect();
        let store = async |events: &[Verified]| {
            let batch = Batch { events: events.to_vec(), ..Batch::default() };
            archive.store(batch).await.expect("stored")
        };
        store(&events[..2]).await;
        // Left by a reader whose snapshot is older than these events.
        let hint = |event: &Verified| (event.event().id, Hint::NewAfter(0));
        archive.hints.add(archive.hints.generation(), events.iter().map(hint).collect());
        assert_eq!(store(&events).await, Stored { stored: 1, known: 2 });
        assert_eq!(archive.stats().await.expect("stats").events, 3);
        // After a restart nothing is remembered of the last events.
        archive.close().await;
        let archive = SqliteArchive::open(&url, Options::default()).await.expect("opened again");
        archive.hints.add(archive.hints.generation(), events.iter().map(hint).collect());
        let batch = Batch { events: events.clone(), ..Batch::default() };
        assert_eq!(archive.store(batch).await.expect("stored"), Stored { stored: 0, known: 3 });
    }
}
