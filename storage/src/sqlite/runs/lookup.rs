//! What the indexes are asked.

use std::sync::Arc;

use nostr::EventId;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::merge::Merge;
use super::record::{Entries, Record};
use super::{IdEntry, Index, Set, TagEntry, with_block};
use crate::StorageError;

/// Events by id. Everything is read in the caller's transaction.
pub(in crate::sqlite) struct Ids<'c> {
    connection: &'c Connection,
    set: Arc<Set>,
    /// Nothing if there are no recent entries.
    recent: Option<CachedStatement<'c>>,
}

impl<'c> Ids<'c> {
    pub(in crate::sqlite) fn new(connection: &'c Connection, set: &Arc<Set>) -> rusqlite::Result<Self> {
        let some = connection.prepare_cached("select 1 from recent_id limit 1")?.exists([])?;
        let find = "select event from recent_id where id = ?1";
        let recent = some.then(|| connection.prepare_cached(find)).transpose()?;
        Ok(Self { connection, set: set.clone(), recent })
    }

    /// Returns the number of the event with this id, if it is stored.
    pub(in crate::sqlite) fn find(&mut self, id: &EventId) -> Result<Option<i64>, StorageError> {
        if let Some(recent) = &mut self.recent
            && let Some(event) = recent.query_row([id.as_bytes()], |row| row.get(0)).optional()?
        {
            return Ok(Some(event));
        }
        let id = IdEntry::new(id, 0);
        let fence = id.fence();
        for run in self.set.of(Index::Ids).rev() {
            let mut place = run.start(fence);
            while run.fence(place).is_some_and(|first| *first <= fence) {
                if run.segments[place / super::SEGMENT].bloom.may_hold(&id.id) {
                    let search = |block: &[u8]| Ok(IdEntry::search(block, &id.id, run.first));
                    if let Some(event) = with_block(self.connection, run, place, search)? {
                        return Ok(Some(event));
                    }
                }
                place += 1;
            }
        }
        Ok(None)
    }
}

/// Events by tag. Everything is read in the caller's transaction.
pub(in crate::sqlite) struct Tags<'c> {
    connection: &'c Connection,
    set: Arc<Set>,
    last_event: i64,
    has: CachedStatement<'c>,
}

impl<'c> Tags<'c> {
    pub(in crate::sqlite) fn new(connection: &'c Connection, set: &Arc<Set>) -> rusqlite::Result<Self> {
        let has =
            connection.prepare_cached("select 1 from recent_tag where key = ?1 and created_at = ?2 and event = ?3")?;
        Ok(Self { connection, set: set.clone(), last_event: set.last_event(), has })
    }

    /// Returns whether an event of this date has a tag.
    pub(in crate::sqlite) fn has(&mut self, tag: TagEntry) -> Result<bool, StorageError> {
        if tag.event > self.last_event {
            return Ok(self.has.exists(params![tag.key, tag.created_at, tag.event])?);
        }
        let Some(run) = self.set.of(Index::Tags).find(|run| run.covers(tag.event)) else { return Ok(false) };
        let fence = tag.fence();
        let mut place = run.start(fence);
        while run.fence(place).is_some_and(|first| *first <= fence) {
            let found = with_block(self.connection, run, place, |block| {
                for entry in Entries::of(block, run.first) {
                    let entry: TagEntry = entry?;
                    if entry >= tag {
                        return Ok(entry == tag);
                    }
                }
                Ok(false)
            });
            if found? {
                return Ok(true);
            }
            place += 1;
        }
        Ok(false)
    }

    /// Returns the events with a tag whose dates lie in a range (both ends belong to it), newest first.
    pub(in crate::sqlite) fn newest(
        &self,
        key: i64,
        since: i64,
        until: i64,
    ) -> Result<Merge<'c, TagEntry>, StorageError> {
        let mut recent = self.connection.prepare_cached(
            "select created_at, event from recent_tag where key = ?1 and created_at >= ?2 and created_at <= ?3 \
             order by created_at, event desc",
        )?;
        let rows = recent
            .query_map([key, since, until], |row| Ok(TagEntry { key, created_at: row.get(0)?, event: row.get(1)? }))?;
        let from = TagEntry { key, created_at: until, event: i64::MIN };
        let last = TagEntry { key, created_at: since, event: i64::MAX };
        let mut newest = Merge::new(self.connection, Some(last));
        newest.add_read(rows.collect::<rusqlite::Result<_>>()?);
        for run in self.set.of(Index::Tags).rev() {
            newest.add(run.clone(), Some(from))?;
        }
        Ok(newest)
    }
}
