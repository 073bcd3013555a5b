//! The writer's cache of committed data, so that it need not be read for every event.

use std::collections::{HashMap, HashSet};

use nostr::PublicKey;
use rusqlite::{Connection, OptionalExtension};

use super::authors::Authors;
use crate::StorageError;
use crate::decode::public_key;
use crate::query::sqlite;

/// The most authors whose numbers are cached, 64 bytes each, and the most pairs of author and kind that have events, 32 bytes
/// each.
pub(super) const REMEMBERED: usize = 200_000;

/// The writer's cache. It is discarded when a transaction is rolled back.
#[derive(Default)]
pub(super) struct Memory {
    authors: HashMap<PublicKey, i64>,
    vanished: Option<HashMap<PublicKey, i64>>,
    pub(super) totals: Authors,
    pub(super) pairs: HashSet<(i64, u16)>,
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
        if self.authors.len() >= REMEMBERED {
            self.authors.clear();
        }
        self.authors.insert(*pubkey, k);
        Ok(k)
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
