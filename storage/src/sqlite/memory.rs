//! The writer's cache of committed data, so that it need not be read for every event.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use lru::LruCache;
use nostr::PublicKey;
use rusqlite::{Connection, OptionalExtension};

use super::authors::Authors;
use crate::StorageError;
use crate::decode::public_key;
use crate::query::sqlite;

/// The most authors whose numbers are cached, some 100 bytes each, and the most pairs of author and kind that are known to have
/// events, some 50 bytes each.
const CACHED: NonZeroUsize = NonZeroUsize::new(300_000).expect("not zero");

/// The writer's cache. It is discarded when a transaction is rolled back.
pub(super) struct Memory {
    authors: LruCache<PublicKey, i64>,
    vanished: Option<HashMap<PublicKey, i64>>,
    pub(super) totals: Authors,
    pairs: LruCache<(i64, u16), ()>,
}

impl Default for Memory {
    fn default() -> Self {
        // They grow as they are filled: most archives have fewer authors.
        let mut memory = Self {
            authors: LruCache::unbounded(),
            vanished: None,
            totals: Authors::default(),
            pairs: LruCache::unbounded(),
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
