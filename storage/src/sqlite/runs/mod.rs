//! The indexes of events (by id, tag, author, kind and time), as a log-structured merge tree inside the archive's file.
//!
//! In a b-tree an entry with a random key touches a page of its own once the tree has outgrown the cache, and each page is
//! written twice, to the log and to the file. Here new entries go to small tables (`recent_id` and others); when there are
//! enough, all are written, sorted, as a new *run*: a list of blocks of some 4 KB that never grows. Four runs of one level are
//! merged into one of the next, a portion with each commit, so that an entry is written once per level: about log4(events /
//! 8,192) times. All of it happens in the transactions that store events, so a killed process leaves nothing half done.
//!
//! A lookup reads the recent table and then each run, newest first; there are at most three per level, and some that are being
//! merged. The first entry of each block (16 bytes per 4 KB) is in memory, and so are Bloom filters of ids and of authors'
//! kinds (12 bits per entry), so that a lookup in vain costs no page read in most cases.
//!
//! A run covers a range of event numbers that no other run of its index covers.

mod bloom;
mod lookup;
mod merge;
mod older;
mod record;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Row, params};

use crate::StorageError;
use crate::query::sqlite;
use bloom::Bloom;
pub(super) use lookup::Indexes;
pub(super) use merge::Merge;
pub(super) use older::{is_settled, settle};
pub(super) use record::{Dated, HeadEntry, IdEntry, TagEntry, TimeEntry};
use record::{Fence, Index, Record};
pub(super) use write::{Entries, Indexed, Merges, PACE, clear, count, remove};

/// Blocks whose fences and Bloom filter are one row of table `fence`.
const SEGMENT: usize = 32;

/// The most blocks of a run: the row of a block is numbered `run * BLOCKS + place`.
const BLOCKS: i64 = 1 << 32;

fn damaged(detail: &str) -> StorageError {
    StorageError::Damaged { what: "index run", detail: detail.to_owned() }
}

/// What is kept in memory of [`SEGMENT`] blocks.
#[derive(Debug)]
struct Segment {
    fences: Vec<Fence>,
    /// Empty if the index has none.
    bloom: Bloom,
}

impl Segment {
    fn to_bytes(&self) -> Vec<u8> {
        let count = u16::try_from(self.fences.len()).expect("a segment has 32 blocks");
        let halves = self.fences.iter().flat_map(|(a, b)| [*a, *b]).flat_map(u64::to_le_bytes);
        count.to_le_bytes().into_iter().chain(halves).chain(self.bloom.to_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (fences, bloom) = rest.split_at_checked(usize::from(u16::from_le_bytes(*count)) * 16)?;
        let (fences, _) = fences.as_chunks::<8>();
        let fences = fences.chunks_exact(2).map(|pair| (u64::from_le_bytes(pair[0]), u64::from_le_bytes(pair[1])));
        Some(Self { fences: fences.collect(), bloom: Bloom::from_bytes(bloom)? })
    }
}

/// The segments of a run. All but the last have [`SEGMENT`] blocks.
#[derive(Debug, Clone, Default)]
struct Segments {
    list: Vec<Arc<Segment>>,
    /// The first fence of each, side by side: a search reads few cache lines.
    starts: Vec<Fence>,
}

impl Segments {
    fn push(&mut self, segment: Segment) {
        self.starts.push(segment.fences.first().copied().unwrap_or_default());
        self.list.push(Arc::new(segment));
    }
}

/// A run of one index.
#[derive(Debug, Clone)]
struct Run {
    n: i64,
    index: i64,
    level: i64,
    /// The event numbers that it covers.
    first: i64,
    last: i64,
    segments: Segments,
}

impl Run {
    fn blocks(&self) -> usize {
        let last = self.segments.list.last();
        last.map_or(0, |last| (self.segments.list.len() - 1) * SEGMENT + last.fences.len())
    }

    fn fence(&self, place: usize) -> Option<&Fence> {
        self.segments.list.get(place / SEGMENT)?.fences.get(place % SEGMENT)
    }

    /// Returns the first block that may hold entries from this fence on.
    fn start(&self, from: Fence) -> usize {
        let segment = self.segments.starts.partition_point(|start| *start < from).saturating_sub(1);
        let within = self.segments.list.get(segment).map_or(0, |s| s.fences.partition_point(|f| *f < from));
        segment * SEGMENT + within.saturating_sub(1)
    }

    /// Returns the number of a block's row.
    fn row(&self, place: usize) -> i64 {
        self.n * BLOCKS + i64::try_from(place).unwrap_or(i64::MAX)
    }

    fn covers(&self, event: i64) -> bool {
        (self.first..=self.last).contains(&event)
    }
}

/// The readable runs in one state of the archive, in the order of their events.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    version: i64,
    /// By index.
    runs: [Vec<Arc<Run>>; Index::ALL.len()],
}

impl Set {
    /// Returns the runs of an index, oldest first.
    fn of(&self, index: Index) -> impl DoubleEndedIterator<Item = &Arc<Run>> {
        self.runs[index as usize].iter()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().flatten()
    }

    /// Returns the runs of the index that a run belongs to.
    fn beside(&mut self, run: &Run) -> Result<&mut Vec<Arc<Run>>, StorageError> {
        let index = usize::try_from(run.index).ok().and_then(|index| self.runs.get_mut(index));
        index.ok_or_else(|| damaged("it belongs to no index"))
    }

    /// Returns a date that no event of a run exceeds: that of the newest event in the runs by time that cover the same events.
    fn newest(&self, run: &Run) -> i64 {
        let times = self.of(Index::Times).filter(|times| times.first <= run.last && run.first <= times.last);
        times.filter_map(|times| times.fence(0)).map(|fence| TimeEntry::date(*fence)).max().unwrap_or(i64::MAX)
    }

    /// Returns the last event whose entries are in runs; those of later ones are in the recent tables.
    fn last_event(&self) -> i64 {
        self.of(Index::Ids).map(|run| run.last).max().unwrap_or(0)
    }
}

/// The runs that this process has loaded; shared by all connections to the file.
#[derive(Debug, Default)]
pub(super) struct Runs {
    newest: Mutex<Arc<Set>>,
}

impl Runs {
    /// Returns the runs of the state that this connection reads. It must be in a transaction: only its snapshot has exactly
    /// these.
    pub(super) fn at(&self, connection: &Connection) -> Result<Arc<Set>, StorageError> {
        let version: i64 = connection.prepare_cached(sqlite!("run_version"))?.query_row([], |row| row.get(0))?;
        let known = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.version == version {
            return Ok(known);
        }
        let set = Arc::new(load(connection, version, &known)?);
        if known.version < version {
            self.publish(set.clone());
        }
        Ok(set)
    }

    /// Publishes a committed set.
    pub(super) fn publish(&self, set: Arc<Set>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.version < set.version {
            *newest = set;
        }
    }
}

/// Loads the runs of a state; loaded ones are not read again.
fn load(connection: &Connection, version: i64, known: &Set) -> Result<Set, StorageError> {
    let known = |n| known.all().find(|run| run.n == n).map(|run| run.segments.clone());
    let mut set = Set { version, ..Set::default() };
    for run in load_runs(connection, "live", known)? {
        set.beside(&run)?.push(Arc::new(run));
    }
    Ok(set)
}

/// Loads the runs in a state, oldest first. `known` returns the segments of a run if they are in memory.
fn load_runs(
    connection: &Connection,
    state: &str,
    known: impl Fn(i64) -> Option<Segments>,
) -> Result<Vec<Run>, StorageError> {
    let mut statement = connection.prepare_cached(sqlite!("run_list"))?;
    let mut fences = connection.prepare_cached(sqlite!("fence_list"))?;
    let mut rows = statement.query([state])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let (mut run, blocks) = read_run(row)?;
        if let Some(segments) = known(run.n) {
            run.segments = segments;
        } else {
            let mut segments = fences.query(params![run.n * BLOCKS, (run.n + 1) * BLOCKS])?;
            while let Some(row) = segments.next()? {
                let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                let segment = Segment::from_bytes(bytes).ok_or_else(|| damaged("fences that cannot be read"))?;
                run.segments.push(segment);
            }
        }
        if run.blocks() != blocks {
            return Err(damaged("it has another number of blocks than it says"));
        }
        runs.push(run);
    }
    Ok(runs)
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<(Run, usize)> {
    let run = Run {
        n: row.get(0)?,
        index: row.get(1)?,
        level: row.get(2)?,
        first: row.get(3)?,
        last: row.get(4)?,
        segments: Segments::default(),
    };
    Ok((run, row.get(5)?))
}

/// Passes a block to `read`.
fn with_block<T>(
    connection: &Connection,
    run: &Run,
    place: usize,
    read: impl FnOnce(&[u8]) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let mut statement = connection.prepare_cached(sqlite!("block_get"))?;
    let mut rows = statement.query([run.row(place)])?;
    let row = rows.next()?.ok_or_else(|| damaged("a block is missing"))?;
    read(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// Returns all entries of a block.
fn entries<R: Record>(connection: &Connection, run: &Run, place: usize) -> Result<Vec<R>, StorageError> {
    with_block(connection, run, place, |block| record::Entries::of(block, run.first).collect())
}

#[cfg(test)]
mod tests;
