//! Writing, merging and freeing runs, always in a transaction of the writer.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::bloom::Mark;
use super::merge::Merge;
use super::record::{Fence, Record, pack};
use super::{
    BLOCKS, Bloom, HeadEntry, IdEntry, Index, Run, SEGMENT, Segment, Segments, Set, TagEntry, TimeEntry, damaged,
    entries, load_runs,
};
use crate::StorageError;
use crate::query::sqlite;

/// New events from which a run is written; fewer stay in the recent tables.
const FLUSH: usize = 4_096;
/// Runs of one level that are merged into one of the next.
const FANOUT: usize = 4;
/// The longest block, in bytes: two fit into a page.
const BLOCK_BYTES: usize = 4_050;
/// Entries merged per added entry. An entry is merged once per level, and with 8 levels an archive has half a billion events:
/// merges keep up with whatever is added.
pub(in crate::sqlite) const PACE: usize = 8;
/// A block has more entries than this, so that merged runs are freed as fast as they accumulate.
const FEWEST: usize = 64;

/// Entries of all indexes, in any order.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Entries {
    ids: Vec<IdEntry>,
    tags: Vec<TagEntry>,
    heads: Vec<HeadEntry>,
    times: Vec<TimeEntry>,
}

/// The indexed properties of an event.
#[derive(Debug, Clone, Copy)]
pub(in crate::sqlite) struct Indexed {
    pub(in crate::sqlite) event: i64,
    pub(in crate::sqlite) id: [u8; 32],
    pub(in crate::sqlite) author: i64,
    pub(in crate::sqlite) kind: u16,
    pub(in crate::sqlite) created_at: i64,
}

impl Entries {
    /// Adds the entries of an event with these tags.
    pub(in crate::sqlite) fn push(&mut self, indexed: Indexed, tags: impl IntoIterator<Item = i64>) {
        let Indexed { event, id, author, kind, created_at } = indexed;
        let kind = i64::from(kind);
        self.ids.push(IdEntry { id, event });
        self.tags.extend(tags.into_iter().map(|key| TagEntry { key, created_at, event }));
        self.heads.extend([kind, HeadEntry::key(author, kind)].map(|key| HeadEntry { key, created_at, event }));
        self.times.push(TimeEntry { created_at, id, event });
    }

    /// Returns the number of entries in all indexes.
    pub(in crate::sqlite) fn len(&self) -> usize {
        self.ids.len() + self.tags.len() + self.heads.len() + self.times.len()
    }
}

/// Runs that are being written, each merged from those readable runs of the level below whose events it covers.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Merges {
    /// `None` until they are loaded.
    building: Option<Vec<Run>>,
}

/// The changes of one commit to the runs.
pub(in crate::sqlite) struct Change<'a> {
    connection: &'a Connection,
    set: Set,
    building: &'a mut Vec<Run>,
    changed: bool,
}

impl Merges {
    /// Begins a change to the runs of `set`. After a rollback the caller must begin with new [`Merges`].
    pub(in crate::sqlite) fn change<'a>(
        &'a mut self,
        connection: &'a Connection,
        set: &Set,
    ) -> Result<Change<'a>, StorageError> {
        let building = match self.building.take() {
            Some(building) => building,
            None => load_runs(connection, "building", |_| None)?,
        };
        Ok(Change { connection, set: set.clone(), building: self.building.insert(building), changed: false })
    }
}

impl Change<'_> {
    /// Adds the entries of new events, up to number `last`.
    pub(in crate::sqlite) fn add(&mut self, entries: Entries, last: i64) -> Result<(), StorageError> {
        let recent: usize = self.connection.prepare_cached(sqlite!("recent_count"))?.query_row([], |row| row.get(0))?;
        let Entries { ids, tags, heads, times } = entries;
        if recent + ids.len() < FLUSH {
            self.insert(&ids)?;
            self.insert(&tags)?;
            self.insert(&heads)?;
            self.insert(&times)?;
            return Ok(());
        }
        let first = self.set.last_event() + 1;
        self.flush(ids, first, last)?;
        self.flush(tags, first, last)?;
        self.flush(heads, first, last)?;
        self.flush(times, first, last)?;
        Ok(self.connection.execute_batch(sqlite!("recent_clear"))?)
    }

    fn insert<R: Record>(&self, entries: &[R]) -> rusqlite::Result<()> {
        entries.iter().try_for_each(|entry| entry.insert(self.connection))
    }

    /// Writes a run of these entries and of the recent ones.
    fn flush<R: Record>(&mut self, mut entries: Vec<R>, first: i64, last: i64) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare_cached(R::RECENT)?;
        for entry in statement.query_map([], R::from_row)? {
            entries.push(entry?);
        }
        self.write_run(entries, first, last)
    }

    fn write_run<R: Record>(&mut self, mut entries: Vec<R>, first: i64, last: i64) -> Result<(), StorageError> {
        entries.sort_unstable();
        let run = begin(self.connection, R::INDEX, 0, first, last)?;
        let mut entries = entries.into_iter();
        let (run, _, _) = write_some(self.connection, run, usize::MAX, || Ok(entries.next()))?;
        self.publish(run)
    }

    /// Makes a written run readable.
    fn publish(&mut self, run: Run) -> Result<(), StorageError> {
        self.connection.prepare_cached(sqlite!("run_publish"))?.execute([run.n])?;
        let runs = self.set.beside(&run)?;
        let place = runs.partition_point(|other| (other.first, other.n) < (run.first, run.n));
        runs.insert(place, Arc::new(run));
        self.changed = true;
        Ok(())
    }

    /// Continues merges until about `most` entries are merged, those of lower levels first, since they are due more often.
    /// Returns true if work is left.
    pub(in crate::sqlite) fn advance(&mut self, most: usize) -> Result<bool, StorageError> {
        let mut left = most;
        let highest = self.set.all().map(|run| run.level).max().unwrap_or(0);
        // A run that is written here may be the fourth of its level.
        for level in 0..=highest + 1 {
            for index in Index::ALL {
                while self.is_building(index, level + 1) || self.begin_merge(index, level)? {
                    if left == 0 {
                        free(self.connection, most)?;
                        return Ok(true);
                    }
                    let written = match index {
                        Index::Ids => self.merge::<IdEntry>(level + 1, left)?,
                        Index::Tags => self.merge::<TagEntry>(level + 1, left)?,
                        Index::Heads => self.merge::<HeadEntry>(level + 1, left)?,
                        Index::Times => self.merge::<TimeEntry>(level + 1, left)?,
                    };
                    left = left.saturating_sub(written.max(1));
                }
            }
        }
        free(self.connection, most)
    }

    fn is_building(&self, index: Index, level: i64) -> bool {
        self.building.iter().any(|run| run.index == index as i64 && run.level == level)
    }

    /// Begins to merge the oldest runs of a level if there are enough.
    fn begin_merge(&mut self, index: Index, level: i64) -> Result<bool, StorageError> {
        let of_level: Vec<_> = self.set.of(index).filter(|run| run.level == level).take(FANOUT).collect();
        let [oldest, .., newest] = of_level.as_slice() else { return Ok(false) };
        // Within a run, numbers are kept in 32 bits.
        if of_level.len() < FANOUT || u32::try_from(newest.last - oldest.first).is_err() {
            return Ok(false);
        }
        let run = begin(self.connection, index, level + 1, oldest.first, newest.last)?;
        self.building.push(run);
        Ok(true)
    }

    /// Writes the next entries of a merge, about `most`; returns how many. At the end the merged run replaces its inputs.
    fn merge<R: Record>(&mut self, level: i64, most: usize) -> Result<usize, StorageError> {
        let place = self.building.iter().position(|run| run.index == R::INDEX as i64 && run.level == level);
        let run = self.building.swap_remove(place.ok_or_else(|| damaged("no such merge"))?);
        let last = last_entry::<R>(self.connection, &run)?;
        let mut merge = Merge::new(self.connection, None);
        let sources: Vec<_> = self.set.of(R::INDEX).filter(|source| run.covers(source.first)).cloned().collect();
        for source in &sources {
            merge.add(source.clone(), last)?;
        }
        // The last written entry may be met again.
        let next = || loop {
            match merge.next()? {
                Some(entry) if last.is_some_and(|last| entry <= last) => {}
                entry => return Ok(entry),
            }
        };
        let (run, written, is_whole) = write_some(self.connection, run, most, next)?;
        if !is_whole {
            self.building.push(run);
            return Ok(written);
        }
        let mut retire = self.connection.prepare_cached(sqlite!("run_retire"))?;
        for source in sources {
            retire.execute([source.n])?;
            self.set.beside(&source)?.retain(|run| run.n != source.n);
        }
        self.publish(run)?;
        Ok(written)
    }

    /// Ends the change and returns the set to publish once the transaction is committed.
    pub(in crate::sqlite) fn end(mut self) -> Result<Arc<Set>, StorageError> {
        if self.changed {
            let sql = sqlite!("run_next_version");
            self.set.version = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        }
        Ok(Arc::new(self.set))
    }
}

/// Adds a run without blocks.
pub(super) fn begin(
    connection: &Connection,
    index: Index,
    level: i64,
    first: i64,
    last: i64,
) -> Result<Run, StorageError> {
    let index = index as i64;
    let n = connection.prepare_cached(sqlite!("run_add"))?.query_row([index, level, first, last], |row| row.get(0))?;
    Ok(Run { n, index, level, first, last, segments: Segments::default() })
}

/// Returns the last entry of a run that is being written.
pub(super) fn last_entry<R: Record>(connection: &Connection, run: &Run) -> Result<Option<R>, StorageError> {
    for place in (0..run.blocks()).rev() {
        // A block is empty if all its events were removed.
        if let Some(last) = entries(connection, run, place)?.pop() {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

/// Continues a run: writes the entries that `next` returns until it ends, or until about `most` are written. Returns the run,
/// the number written, and whether the run is complete.
pub(super) fn write_some<R: Record>(
    connection: &Connection,
    run: Run,
    most: usize,
    mut next: impl FnMut() -> Result<Option<R>, StorageError>,
) -> Result<(Run, usize, bool), StorageError> {
    let mut writer = RunWriter::on(connection, run);
    while let Some(entry) = next()? {
        if writer.push(entry) {
            continue;
        }
        writer.end_block()?;
        // Only whole segments are written, so that the run can be continued from here at any time.
        if writer.is_between_segments() && writer.entries >= most {
            return Ok((writer.pause()?, writer.entries, false));
        }
        writer.push(entry);
    }
    writer.end_block()?;
    if !writer.fences.is_empty() {
        writer.end_segment()?;
    }
    Ok((writer.pause()?, writer.entries, true))
}

/// Writes the blocks of a run, in order.
struct RunWriter<'c, R> {
    connection: &'c Connection,
    run: Run,
    /// The current block: its bytes, its first and its last entry.
    block: Vec<u8>,
    first: Option<R>,
    previous: Option<R>,
    /// Of the current segment.
    fences: Vec<Fence>,
    marks: Vec<Mark>,
    /// Entries in written blocks and in the current one.
    entries: usize,
}

impl<'c, R: Record> RunWriter<'c, R> {
    fn on(connection: &'c Connection, run: Run) -> Self {
        Self {
            connection,
            run,
            block: Vec::with_capacity(BLOCK_BYTES + 64),
            first: None,
            previous: None,
            fences: Vec::new(),
            marks: Vec::new(),
            entries: 0,
        }
    }

    /// Adds an entry to the block if there is room; returns true if there was.
    fn push(&mut self, entry: R) -> bool {
        let before = self.block.len();
        entry.write(self.previous.as_ref(), self.run.first, &mut self.block);
        if self.block.len() > BLOCK_BYTES {
            self.block.truncate(before);
            return false;
        }
        self.first.get_or_insert(entry);
        self.previous = Some(entry);
        // Entries with the same key are adjacent.
        self.marks.extend(entry.mark().filter(|mark| self.marks.last() != Some(mark)));
        self.entries += 1;
        true
    }

    /// Writes the block, and the segment if it is complete.
    fn end_block(&mut self) -> Result<(), StorageError> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let place = self.run.segments.list.len() * SEGMENT + self.fences.len();
        self.connection.prepare_cached(sqlite!("block_add"))?.execute(params![self.run.row(place), self.block])?;
        self.block.clear();
        self.previous = None;
        self.fences.push(first.fence());
        if self.fences.len() == SEGMENT { self.end_segment() } else { Ok(()) }
    }

    fn end_segment(&mut self) -> Result<(), StorageError> {
        let segment = Segment { fences: std::mem::take(&mut self.fences), bloom: Bloom::of(&self.marks) };
        self.marks.clear();
        let row = self.run.row(self.run.segments.list.len() * SEGMENT);
        self.connection.prepare_cached(sqlite!("fence_add"))?.execute(params![row, segment.to_bytes()])?;
        self.run.segments.push(segment);
        Ok(())
    }

    /// Returns true if the last written block ended a segment.
    fn is_between_segments(&self) -> bool {
        self.first.is_none() && self.fences.is_empty()
    }

    /// Records how far the run is written, which must be between segments.
    fn pause(&self) -> Result<Run, StorageError> {
        self.connection.prepare_cached(sqlite!("run_extend"))?.execute(params![
            self.run.n,
            self.run.blocks(),
            self.entries
        ])?;
        Ok(self.run.clone())
    }
}

/// Frees blocks of merged runs that hold at least `entries` entries; returns true if more are left.
fn free(connection: &Connection, entries: usize) -> Result<bool, StorageError> {
    let mut most = i64::try_from(entries.div_ceil(FEWEST)).unwrap_or(i64::MAX);
    let mut find = connection.prepare_cached(sqlite!("run_find_retired"))?;
    loop {
        let found = find.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((n, blocks)): Option<(i64, i64)> = found else { return Ok(false) };
        if most == 0 {
            return Ok(true);
        }
        let left = (blocks - most).max(0);
        let range = [n * BLOCKS + left, (n + 1) * BLOCKS];
        connection.prepare_cached(sqlite!("block_remove"))?.execute(range)?;
        if left > 0 {
            connection.prepare_cached(sqlite!("run_shorten"))?.execute([n, left])?;
        } else {
            connection.prepare_cached(sqlite!("fence_remove"))?.execute(range)?;
            connection.prepare_cached(sqlite!("run_remove"))?.execute([n])?;
        }
        most -= blocks - left;
    }
}

/// Removes the entries of removed events.
pub(in crate::sqlite) fn remove(connection: &Connection, set: &Set, entries: Entries) -> Result<(), StorageError> {
    // A run that is being written may have them already.
    let building = load_runs(connection, "building", |_| None)?;
    let runs: Vec<&Run> = set.all().map(Arc::as_ref).chain(&building).collect();
    let last = set.last_event();
    remove_from(connection, last, &runs, entries.ids)?;
    remove_from(connection, last, &runs, entries.tags)?;
    remove_from(connection, last, &runs, entries.heads)?;
    remove_from(connection, last, &runs, entries.times)
}

/// Removes entries of one index. Those of events after `last` are not in runs.
fn remove_from<R: Record>(
    connection: &Connection,
    last: i64,
    runs: &[&Run],
    mut records: Vec<R>,
) -> Result<(), StorageError> {
    records.sort_unstable();
    records.dedup();
    records.iter().filter(|record| record.event() > last).try_for_each(|record| record.delete(connection))?;
    for run in runs.iter().filter(|run| run.index == R::INDEX as i64) {
        let mut open = OpenBlock { connection, run, place: 0, entries: None, removed: 0 };
        for record in records.iter().filter(|record| run.covers(record.event())) {
            let fence = record.fence();
            let mut place = run.start(fence);
            while run.fence(place).is_some_and(|first| *first <= fence) && !open.remove(place, record)? {
                place += 1;
            }
        }
        open.write()?;
        if open.removed > 0 {
            connection.prepare_cached(sqlite!("run_remove_entries"))?.execute(params![run.n, open.removed])?;
        }
    }
    Ok(())
}

/// The block from which entries are being removed.
struct OpenBlock<'a, R> {
    connection: &'a Connection,
    run: &'a Run,
    place: usize,
    /// Its entries, and how many there were when it was read.
    entries: Option<(Vec<R>, usize)>,
    removed: usize,
}

impl<R: Record> OpenBlock<'_, R> {
    /// Removes an entry; returns true if it existed.
    fn remove(&mut self, place: usize, record: &R) -> Result<bool, StorageError> {
        if place != self.place {
            self.write()?;
            self.place = place;
        }
        let (held, _) = match &mut self.entries {
            Some(held) => held,
            None => {
                let read = entries::<R>(self.connection, self.run, place)?;
                let count = read.len();
                self.entries.insert((read, count))
            }
        };
        let found = held.binary_search(record);
        if let Ok(at) = found {
            held.remove(at);
            self.removed += 1;
        }
        Ok(found.is_ok())
    }

    /// Writes the block if it changed.
    fn write(&mut self) -> Result<(), StorageError> {
        if let Some((held, count)) = self.entries.take()
            && held.len() < count
        {
            self.connection
                .prepare_cached(sqlite!("block_set"))?
                .execute(params![self.run.row(self.place), pack(&held, self.run.first)])?;
        }
        Ok(())
    }
}

/// Removes all runs and recent entries.
pub(in crate::sqlite) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(sqlite!("run_clear"))
}

/// Returns the number of entries in the index of ids, which is the number of events.
pub(in crate::sqlite) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = sqlite!("run_count_ids");
    connection.query_row(sql, [], |row| row.get(0))
}
