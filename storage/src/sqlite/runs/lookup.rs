//! Lookups in the indexes.

use std::sync::Arc;

use nostr::EventId;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::merge::Merge;
use super::record::{Dated, Entries, Record};
use super::write::last_entry;
use super::{HeadEntry, IdEntry, Index, Run, SEGMENT, Set, TagEntry, TimeEntry, with_block};
use crate::StorageError;
use crate::query::sqlite;

/// The indexes as seen by one transaction, in which all reads happen.
pub(in crate::sqlite) struct Indexes<'c> {
    connection: &'c Connection,
    set: Arc<Set>,
    /// `None` if all entries are in runs.
    recent_id: Option<CachedStatement<'c>>,
}

impl<'c> Indexes<'c> {
    pub(in crate::sqlite) fn new(connection: &'c Connection, set: &Arc<Set>) -> rusqlite::Result<Self> {
        let some = connection.prepare_cached(sqlite!("recent_id_any"))?.exists([])?;
        let find = sqlite!("recent_id_find");
        let recent_id = some.then(|| connection.prepare_cached(find)).transpose()?;
        Ok(Self { connection, set: set.clone(), recent_id })
    }

    /// Returns the number of the event with this id, if it is stored.
    pub(in crate::sqlite) fn find(&mut self, id: &EventId) -> Result<Option<i64>, StorageError> {
        if let Some(recent) = &mut self.recent_id
            && let Some(event) = recent.query_row([id.as_bytes()], |row| row.get(0)).optional()?
        {
            return Ok(Some(event));
        }
        let wanted = IdEntry::new(id, 0);
        for run in self.set.of(Index::Ids).rev() {
            for place in places(run, &wanted, &wanted) {
                let search = |block: &[u8]| Ok(IdEntry::search(block, &wanted.id, run.first));
                if let Some(event) = with_block(self.connection, run, place, search)? {
                    return Ok(Some(event));
                }
            }
        }
        Ok(None)
    }

    /// Returns whether an event of this date has a tag.
    pub(in crate::sqlite) fn has_tag(&self, tag: TagEntry) -> Result<bool, StorageError> {
        if tag.event > self.set.last_event() {
            let sql = sqlite!("recent_tag_check");
            return Ok(self.connection.prepare_cached(sql)?.exists([tag.key, tag.created_at, tag.event])?);
        }
        let Some(run) = self.set.of(Index::Tags).find(|run| run.covers(tag.event)) else { return Ok(false) };
        for place in places(run, &tag, &tag) {
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
        }
        Ok(false)
    }

    /// Returns the events with a tag whose dates lie in a range (both ends belong to it), newest first.
    pub(in crate::sqlite) fn tagged(
        &self,
        key: i64,
        since: i64,
        until: i64,
    ) -> Result<Merge<'c, TagEntry>, StorageError> {
        let entry = |created_at, event| TagEntry { key, created_at, event };
        self.since(since, entry(until, i64::MIN), entry(since, i64::MAX))
    }

    /// Returns an author's events of a kind whose dates lie in a range, newest first.
    pub(in crate::sqlite) fn authored(
        &self,
        author: i64,
        kind: i64,
        since: i64,
        until: i64,
    ) -> Result<Merge<'c, HeadEntry>, StorageError> {
        self.headed(HeadEntry::key(author, kind), since, until)
    }

    /// Returns all events of a kind whose dates lie in a range, newest first.
    pub(in crate::sqlite) fn of_kind(
        &self,
        kind: i64,
        since: i64,
        until: i64,
    ) -> Result<Merge<'c, HeadEntry>, StorageError> {
        self.headed(kind, since, until)
    }

    fn headed(&self, key: i64, since: i64, until: i64) -> Result<Merge<'c, HeadEntry>, StorageError> {
        let entry = |created_at, event| HeadEntry { key, created_at, event };
        self.since(since, entry(until, i64::MIN), entry(since, i64::MAX))
    }

    /// Returns all events whose dates lie in a range, newest first; those of one second by id.
    pub(in crate::sqlite) fn all(&self, since: i64, until: i64) -> Result<Merge<'c, TimeEntry>, StorageError> {
        self.between(
            TimeEntry { created_at: until, id: [0; 32], event: i64::MIN },
            TimeEntry { created_at: since, id: [0xFF; 32], event: i64::MAX },
        )
    }

    /// Returns the date of the newest event.
    pub(in crate::sqlite) fn newest(&self) -> Result<Option<i64>, StorageError> {
        Ok(self.all(i64::MIN, i64::MAX)?.next()?.map(|entry| entry.created_at))
    }

    /// Returns the date of the oldest event.
    pub(in crate::sqlite) fn oldest(&self) -> Result<Option<i64>, StorageError> {
        let recent = sqlite!("recent_time_first");
        let mut oldest: Option<i64> = self.connection.prepare_cached(recent)?.query_row([], |row| row.get(0))?;
        for run in self.set.of(Index::Times) {
            let last = last_entry::<TimeEntry>(self.connection, run)?.map(|entry| entry.created_at);
            oldest = oldest.into_iter().chain(last).min();
        }
        Ok(oldest)
    }

    /// Returns the kinds that an author has, in order.
    pub(in crate::sqlite) fn kinds_of(&self, author: i64) -> Result<Vec<i64>, StorageError> {
        let mut kinds = Vec::new();
        let mut next = 0;
        while next <= i64::from(u16::MAX) {
            let first = HeadEntry { key: HeadEntry::key(author, next), created_at: i64::MAX, event: i64::MIN };
            let last = HeadEntry { key: HeadEntry::key(author + 1, 0), created_at: i64::MAX, event: i64::MIN };
            let Some(entry) = self.between(first, last)?.next()? else { break };
            let kind = entry.key & i64::from(u16::MAX);
            kinds.push(kind);
            next = kind + 1;
        }
        Ok(kinds)
    }

    /// Returns whether an author has events of a kind.
    pub(in crate::sqlite) fn has_kind(&self, author: i64, kind: i64) -> Result<bool, StorageError> {
        let key = HeadEntry::key(author, kind);
        let first = HeadEntry { key, created_at: i64::MAX, event: i64::MIN };
        let last = HeadEntry { key, created_at: i64::MIN, event: i64::MAX };
        if self.connection.prepare_cached(sqlite!("recent_head_check"))?.exists([key])? {
            return Ok(true);
        }
        // Run by run, up to the first that has one: most pairs have events in every large run.
        for run in self.set.of(Index::Heads) {
            for place in places(run, &first, &last) {
                let found = with_block(self.connection, run, place, |block| {
                    for entry in Entries::of(block, run.first) {
                        let entry: HeadEntry = entry?;
                        if entry.key >= key {
                            return Ok(entry.key == key);
                        }
                    }
                    Ok(false)
                });
                if found? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Merges the entries of all runs, and of the table of recent entries, from one entry to another.
    fn between<R: Dated>(&self, first: R, last: R) -> Result<Merge<'c, R>, StorageError> {
        self.since(i64::MIN, first, last)
    }

    /// Does the same where no entry that is wanted is older than `since`: runs of older events are left out.
    fn since<R: Dated>(&self, since: i64, first: R, last: R) -> Result<Merge<'c, R>, StorageError> {
        let mut merge = Merge::new(self.connection, Some(last));
        let (from, to) = R::span(&first, &last);
        let mut recent = self.connection.prepare_cached(R::BETWEEN)?;
        let rows = recent.query_map([from, to], R::from_row)?;
        let mut read = Vec::new();
        for entry in rows {
            let entry = entry?;
            if (first..=last).contains(&entry) {
                read.push(entry);
            }
        }
        read.sort_unstable_by(|a, b| b.cmp(a));
        merge.add_read(read);
        for run in self.set.of(R::INDEX).rev().filter(|run| since <= self.set.newest(run)) {
            if let Some(place) = places(run, &first, &last).next() {
                merge.add_from(run.clone(), place, first)?;
            }
        }
        Ok(merge)
    }
}

/// Returns the blocks of a run that may hold entries from `first` to `last`. If both have the same key, blocks whose filter
/// excludes it are left out.
fn places<R: Record>(run: &Run, first: &R, last: &R) -> impl Iterator<Item = usize> {
    let (mark, end) = (first.mark().filter(|mark| last.mark() == Some(*mark)), last.fence());
    let start = run.start(first.fence());
    let within = (start..).take_while(move |place| run.fence(*place).is_some_and(|fence| *fence <= end));
    within.filter(move |place| mark.is_none_or(|mark| run.segments.list[place / SEGMENT].bloom.may_hold(mark)))
}
