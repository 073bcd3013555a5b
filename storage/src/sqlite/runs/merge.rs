//! Merged iteration over several runs.

use std::sync::Arc;

use rusqlite::Connection;

use super::record::{Entries, Record};
use super::{Run, with_block};
use crate::StorageError;

/// One of the runs.
struct Source<R> {
    /// `None` if all of it was read before.
    run: Option<Arc<Run>>,
    /// The next block.
    place: usize,
    /// Entries that were read, the next at the end.
    entries: Vec<R>,
}

/// The entries of several runs in order. One block of each run is in memory.
pub(in crate::sqlite) struct Merge<'c, R> {
    connection: &'c Connection,
    last: Option<R>,
    sources: Vec<Source<R>>,
}

impl<'c, R: Record> Merge<'c, R> {
    /// Starts a merge that ends after `last`.
    pub(super) fn new(connection: &'c Connection, last: Option<R>) -> Self {
        Self { connection, last, sources: Vec::new() }
    }

    /// Adds a run, from entry `from` on.
    pub(super) fn add(&mut self, run: Arc<Run>, from: Option<R>) -> Result<(), StorageError> {
        let place = from.map_or(0, |from| run.start(from.fence()));
        self.add_source(run, place, from)
    }

    /// Adds a run from a block and entry on.
    pub(super) fn add_from(&mut self, run: Arc<Run>, place: usize, from: R) -> Result<(), StorageError> {
        self.add_source(run, place, Some(from))
    }

    fn add_source(&mut self, run: Arc<Run>, place: usize, from: Option<R>) -> Result<(), StorageError> {
        self.sources.push(Source { run: Some(run), place, entries: Vec::new() });
        self.fill(self.sources.len() - 1, from)?;
        self.drop_if_empty(self.sources.len() - 1);
        Ok(())
    }

    /// Adds entries that were read, in reverse order.
    pub(super) fn add_read(&mut self, entries: Vec<R>) {
        self.sources.push(Source { run: None, place: 0, entries });
        self.drop_if_empty(self.sources.len() - 1);
    }

    fn drop_if_empty(&mut self, n: usize) {
        if self.sources[n].entries.is_empty() {
            self.sources.swap_remove(n);
        }
    }

    /// Reads blocks of a source until one has a wanted entry.
    fn fill(&mut self, n: usize, from: Option<R>) -> Result<(), StorageError> {
        let Source { run, place, entries } = &mut self.sources[n];
        let Some(run) = run else { return Ok(()) };
        while entries.is_empty()
            && let Some(first) = run.fence(*place)
            && self.last.is_none_or(|last| *first <= last.fence())
        {
            with_block(self.connection, run, *place, |block| {
                for entry in Entries::of(block, run.first) {
                    let entry = entry?;
                    if self.last.is_some_and(|last| entry > last) {
                        break;
                    }
                    if from.is_none_or(|from| entry >= from) {
                        entries.push(entry);
                    }
                }
                entries.reverse();
                Ok(())
            })?;
            *place += 1;
        }
        Ok(())
    }

    /// Returns the next entry.
    pub(in crate::sqlite) fn next(&mut self) -> Result<Option<R>, StorageError> {
        let heads = self.sources.iter().enumerate().filter_map(|(n, source)| Some((*source.entries.last()?, n)));
        let Some((entry, n)) = heads.min_by(|a, b| a.0.cmp(&b.0)) else { return Ok(None) };
        let source = &mut self.sources[n];
        source.entries.pop();
        if source.entries.is_empty() {
            self.fill(n, None)?;
            self.drop_if_empty(n);
        }
        Ok(Some(entry))
    }
}
