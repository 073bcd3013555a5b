//! The writer's cache of committed data, so that it need not be read for every event.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use lru::LruCache;
use nostr::{EventId, PublicKey};
use rusqlite::{Connection, OptionalExtension};

use super::authors::Authors;
use crate::StorageError;
use crate::decode::public_key;
use crate::query::sqlite;

/// The most authors whose numbers are cached, some 100 bytes each, and the most pairs of author and kind that are known to have
/// events, some 50 bytes each.
const CACHED: NonZeroUsize = NonZeroUsize::new(300_000).expect("not zero");
/// At least this many of the last events are remembered by their ids, and at most twice as many and those of one commit; some 60
/// bytes each.
const LAST_EVENTS: usize = 32_768;

/// The writer's cache. It is discarded when a transaction is rolled back.
pub(super) struct Memory {
    authors: LruCache<PublicKey, i64>,
    vanished: Option<HashMap<PublicKey, i64>>,
    pub(super) totals: Authors,
    pairs: LruCache<(i64, u16), ()>,
    pub(super) last_events: LastEvents,
}

impl Default for Memory {
    fn default() -> Self {
        // They grow as they are filled: most archives have fewer authors.
        let mut memory = Self {
            authors: LruCache::unbounded(),
            vanished: None,
            totals: Authors::default(),
            pairs: LruCache::unbounded(),
            last_events: LastEvents::default(),
        };
        memory.authors.resize(CACHED);
        memory.pairs.resize(CACHED);
        memory
    }
}

impl Memory {
    /// Returns the number of an author, adding an unknown one.
    pub(super) fn author(&mut self, connection: &Connection, pubkey: &PublicKey) -> rusqlite::Result<i64> {
        if let Some(k) = self.authors.get(pubkey) {
            return Ok(*k);
        }
        let mut find = connection.prepare_cached(sqlite!("author_key"))?;
        let k = match find.query_row([pubkey.as_bytes()], |row| row.get(0)).optional()? {
            Some(k) => k,
            None => {
                connection.prepare_cached(sqlite!("author_add"))?.execute([pubkey.as_bytes()])?;
                connection.last_insert_rowid()
            }
        };
        self.authors.put(*pubkey, k);
        Ok(k)
    }

    /// Adds a pair of author and kind that has events from now on; returns false if it is known to have had some before.
    pub(super) fn add_pair(&mut self, author: i64, kind: u16) -> bool {
        self.pairs.put((author, kind), ()).is_none()
    }

    pub(super) fn vanished(&mut self, connection: &Connection) -> Result<&mut HashMap<PublicKey, i64>, StorageError> {
        if self.vanished.is_none() {
            let mut statement = connection.prepare(sqlite!("author_vanished"))?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let known = rows.iter().map(|(key, until)| Ok((public_key(key)?, *until)));
            self.vanished = Some(known.collect::<Result<_, StorageError>>()?);
        }
        Ok(self.vanished.get_or_insert_default())
    }
}

/// The ids of the events that were stored last.
#[derive(Default)]
pub(super) struct LastEvents {
    old: HashMap<EventId, i64>,
    young: HashMap<EventId, i64>,
    /// All events are here that are numbered above the first of these, and in `young` those above the second.
    above: Option<(i64, i64)>,
}

impl LastEvents {
    /// Adds the events of a commit, which are numbered up to `last`.
    pub(super) fn add(&mut self, new: HashMap<EventId, i64>, last: i64) {
        let before = last.saturating_sub_unsigned(new.len() as u64);
        let (old, young) = self.above.unwrap_or((before, before));
        self.above = Some((old, young));
        self.young.extend(new);
        if self.young.len() > LAST_EVENTS {
            self.old = std::mem::take(&mut self.young);
            self.above = Some((young, last));
        }
    }

    /// Returns true if all events are here that are numbered above `k`.
    pub(super) fn since(&self, k: i64) -> bool {
        self.above.is_some_and(|(above, _)| above <= k)
    }

    /// Returns the number of an event.
    pub(super) fn find(&self, id: &EventId) -> Option<i64> {
        self.young.get(id).or_else(|| self.old.get(id)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_remembered() {
        let id = |n: i64| EventId::from_byte_array(std::array::from_fn(|i| n.to_le_bytes()[i % 8]));
        let mut events = LastEvents::default();
        assert!(!events.since(i64::MAX), "nothing is known at the start");
        let mut last = 1_000;
        for commit in 0..40 {
            let size = [1, 5_000, 16_384, 300][commit % 4];
            events.add((last + 1..=last + size).map(|k| (id(k), k)).collect(), last + size);
            last += size;
            assert!(events.since(last));
            let oldest = (0..=last).rev().find(|k| !events.since(*k)).map_or(0, |k| k + 1);
            assert!(oldest <= 1_000.max(last - LAST_EVENTS as i64), "{oldest} of {last}");
            assert!(last - oldest <= 2 * LAST_EVENTS as i64 + 16_384);
            assert!((oldest + 1..=last).all(|k| events.find(&id(k)) == Some(k)));
            assert_eq!(events.find(&id(last + 1)), None);
        }
    }
}
