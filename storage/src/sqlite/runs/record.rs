//! The entries of the indexes, and their encoding in blocks.

use nostr::EventId;
use rusqlite::{Connection, Row, params};

use super::bloom::Mark;
use crate::StorageError;
use crate::query::sqlite;
use crate::varint::{put, take};

/// The position of an entry among all entries of its index. Two entries may share a fence; a later entry never has a smaller
/// one.
pub(in crate::sqlite) type Fence = (u64, u64);

/// The index that a run belongs to: the column `kind` of table `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) enum Index {
    /// Events by id.
    Ids = 0,
    /// Events by tag, newest first.
    Tags = 1,
    /// Events by author and kind, and by kind, newest first.
    Heads = 2,
    /// All events, newest first.
    Times = 3,
}

impl Index {
    pub(super) const ALL: [Self; 4] = [Self::Ids, Self::Tags, Self::Heads, Self::Times];
}

/// An entry of an index. Entries that are in no run yet are rows of a table.
pub(in crate::sqlite) trait Record: Copy + Ord {
    const INDEX: Index;
    /// Selects all rows of the table, in any order.
    const RECENT: &'static str;

    /// Returns the event's number.
    fn event(&self) -> i64;

    /// Returns the entry's fence.
    fn fence(&self) -> Fence;

    /// Returns the entry's key in the Bloom filter, if the index has one.
    fn mark(&self) -> Option<Mark>;

    /// Appends the entry to a block. `base` is the first event number of the run, `previous` the preceding entry of the block.
    fn write(&self, previous: Option<&Self>, base: i64, out: &mut Vec<u8>);

    /// Decodes an entry from the front of a block; `None` if the block is damaged.
    fn read(from: &mut &[u8], previous: Option<&Self>, base: i64) -> Option<Self>;

    /// Reads a row of the table.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self>;

    /// Adds the entry to the table.
    fn insert(&self, connection: &Connection) -> rusqlite::Result<()>;

    /// Removes the entry from the table.
    fn delete(&self, connection: &Connection) -> rusqlite::Result<()>;
}

/// An entry of an index that lists events newest first.
pub(in crate::sqlite) trait Dated: Record {
    /// Returns the event's date, in unix seconds.
    fn created_at(&self) -> i64;

    /// Selects the rows of the table that may lie between two entries, which [`Dated::span`] binds.
    const BETWEEN: &'static str;

    fn span(first: &Self, last: &Self) -> (i64, i64);
}

/// An event's id and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sqlite) struct IdEntry {
    pub(in crate::sqlite) id: [u8; 32],
    pub(in crate::sqlite) event: i64,
}

impl IdEntry {
    /// Bytes of an entry in a block: the id, and the number relative to the run's first.
    const BYTES: usize = 36;

    pub(in crate::sqlite) fn new(id: &EventId, event: i64) -> Self {
        Self { id: id.to_bytes(), event }
    }

    /// Returns the number of the event with this id, if the block has it.
    pub(super) fn search(block: &[u8], id: &[u8; 32], base: i64) -> Option<i64> {
        let (entries, _) = block.as_chunks::<{ Self::BYTES }>();
        let place = entries.binary_search_by(|entry| entry[..32].cmp(id)).ok()?;
        let offset = entries[place].last_chunk::<4>()?;
        Some(base + i64::from(u32::from_le_bytes(*offset)))
    }
}

/// Returns eight bytes of an id, in its order.
fn part(id: &[u8; 32], from: usize) -> u64 {
    u64::from_be_bytes(id[from..from + 8].try_into().expect("eight bytes"))
}

fn offset(event: i64, base: i64) -> [u8; 4] {
    u32::try_from(event - base).expect("a run spans less than 2^32 events").to_le_bytes()
}

impl Record for IdEntry {
    const INDEX: Index = Index::Ids;
    const RECENT: &'static str = sqlite!("recent_id_list");

    fn event(&self) -> i64 {
        self.event
    }

    fn fence(&self) -> Fence {
        (part(&self.id, 0), part(&self.id, 8))
    }

    /// An id is a hash already. Its first bytes are left out: the ids of one filter share them.
    fn mark(&self) -> Option<Mark> {
        Some((part(&self.id, 16), part(&self.id, 24)))
    }

    fn write(&self, _previous: Option<&Self>, base: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&offset(self.event, base));
    }

    fn read(from: &mut &[u8], _previous: Option<&Self>, base: i64) -> Option<Self> {
        let (entry, rest) = from.split_first_chunk::<{ Self::BYTES }>()?;
        *from = rest;
        let offset = u32::from_le_bytes(*entry.last_chunk()?);
        Some(Self { id: *entry.first_chunk()?, event: base + i64::from(offset) })
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, event: row.get(1)? })
    }

    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = sqlite!("recent_id_add");
        connection.prepare_cached(sql)?.execute(params![self.id, self.event]).map(drop)
    }

    fn delete(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = sqlite!("recent_id_remove");
        connection.prepare_cached(sql)?.execute(params![self.id, self.event]).map(drop)
    }
}

/// An event under a key, with its date. Newest first within a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) struct KeyEntry<const INDEX: u8> {
    pub(in crate::sqlite) key: i64,
    pub(in crate::sqlite) created_at: i64,
    pub(in crate::sqlite) event: i64,
}

/// An entry of [`Index::Tags`]: the key is that of the tag ([`crate::tag_key::tag_key`]).
pub(in crate::sqlite) type TagEntry = KeyEntry<1>;

/// An entry of [`Index::Heads`]: the key is a kind, or the number of an author times 2^16 plus a kind.
pub(in crate::sqlite) type HeadEntry = KeyEntry<2>;

impl HeadEntry {
    /// Returns the key of an author's events of a kind.
    pub(in crate::sqlite) fn key(author: i64, kind: i64) -> i64 {
        (author << 16) | kind
    }
}

impl<const INDEX: u8> Ord for KeyEntry<INDEX> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let order = |e: &Self| (e.key, std::cmp::Reverse(e.created_at), e.event);
        order(self).cmp(&order(other))
    }
}

impl<const INDEX: u8> PartialOrd for KeyEntry<INDEX> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Maps signed numbers to unsigned ones in the same order.
fn ordered(n: i64) -> u64 {
    n.cast_unsigned() ^ (1 << 63)
}

/// The statements of the tables of [`KeyEntry`].
struct Statements {
    all: &'static str,
    between: &'static str,
    insert: &'static str,
    delete: &'static str,
}

const TAGS: Statements = Statements {
    all: sqlite!("recent_tag_list"),
    between: sqlite!("recent_tag_between"),
    insert: sqlite!("recent_tag_add"),
    delete: sqlite!("recent_tag_remove"),
};

const HEADS: Statements = Statements {
    all: sqlite!("recent_head_list"),
    between: sqlite!("recent_head_between"),
    insert: sqlite!("recent_head_add"),
    delete: sqlite!("recent_head_remove"),
};

impl<const INDEX: u8> KeyEntry<INDEX> {
    const IS_TAG: bool = INDEX == Index::Tags as u8;
    const SQL: Statements = if Self::IS_TAG { TAGS } else { HEADS };
}

impl<const INDEX: u8> Record for KeyEntry<INDEX> {
    const INDEX: Index = if Self::IS_TAG { Index::Tags } else { Index::Heads };
    const RECENT: &'static str = Self::SQL.all;

    fn event(&self) -> i64 {
        self.event
    }

    fn fence(&self) -> Fence {
        (ordered(self.key), !ordered(self.created_at))
    }

    /// Tags have no filter: nine bytes per event for rare lookups. Kinds are everywhere.
    fn mark(&self) -> Option<Mark> {
        let mixed = |n: u64| (n ^ (n >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let key = self.key.cast_unsigned();
        (!Self::IS_TAG && self.key > i64::from(u16::MAX)).then(|| (mixed(mixed(key)), mixed(mixed(!key))))
    }

    /// Writes the key relative to the previous one, the date relative to the previous one, and the number relative to the run's
    /// first. The first entry of a block has its key in full.
    fn write(&self, previous: Option<&Self>, base: i64, out: &mut Vec<u8>) {
        let date_before = match previous {
            Some(previous) => {
                put(out, self.key.wrapping_sub(previous.key).cast_unsigned());
                previous.created_at
            }
            None => {
                out.extend_from_slice(&self.key.to_le_bytes());
                0
            }
        };
        put(out, zigzag(date_before.wrapping_sub(self.created_at)));
        put(out, (self.event - base).cast_unsigned());
    }

    fn read(from: &mut &[u8], previous: Option<&Self>, base: i64) -> Option<Self> {
        let (key, date_before) = match previous {
            Some(previous) => (previous.key.wrapping_add(take(from)?.cast_signed()), previous.created_at),
            None => {
                let (key, rest) = from.split_first_chunk()?;
                *from = rest;
                (i64::from_le_bytes(*key), 0)
            }
        };
        let created_at = date_before.wrapping_sub(unzigzag(take(from)?));
        let event = base.checked_add(take(from)?.cast_signed())?;
        Some(Self { key, created_at, event })
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { key: row.get(0)?, created_at: row.get(1)?, event: row.get(2)? })
    }

    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached(Self::SQL.insert)?.execute([self.key, self.created_at, self.event]).map(drop)
    }

    fn delete(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached(Self::SQL.delete)?.execute([self.key, self.created_at, self.event]).map(drop)
    }
}

impl<const INDEX: u8> Dated for KeyEntry<INDEX> {
    const BETWEEN: &'static str = Self::SQL.between;

    fn created_at(&self) -> i64 {
        self.created_at
    }

    fn span(first: &Self, last: &Self) -> (i64, i64) {
        (first.key, last.key)
    }
}

/// An event's date, id and number: newest first, and lowest id first within a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) struct TimeEntry {
    pub(in crate::sqlite) created_at: i64,
    pub(in crate::sqlite) id: [u8; 32],
    pub(in crate::sqlite) event: i64,
}

impl TimeEntry {
    /// Returns the date of an entry with this fence.
    pub(super) fn date((date, _): Fence) -> i64 {
        (!date ^ (1 << 63)).cast_signed()
    }
}

impl Ord for TimeEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.created_at.cmp(&self.created_at).then_with(|| self.id.cmp(&other.id)).then(self.event.cmp(&other.event))
    }
}

impl PartialOrd for TimeEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Record for TimeEntry {
    const INDEX: Index = Index::Times;
    const RECENT: &'static str = sqlite!("recent_time_list");

    fn event(&self) -> i64 {
        self.event
    }

    fn fence(&self) -> Fence {
        (!ordered(self.created_at), part(&self.id, 0))
    }

    fn mark(&self) -> Option<Mark> {
        None
    }

    fn write(&self, previous: Option<&Self>, base: i64, out: &mut Vec<u8>) {
        let before = previous.map_or(0, |previous| previous.created_at);
        put(out, zigzag(before.wrapping_sub(self.created_at)));
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&offset(self.event, base));
    }

    fn read(from: &mut &[u8], previous: Option<&Self>, base: i64) -> Option<Self> {
        let before = previous.map_or(0, |previous| previous.created_at);
        let created_at = before.wrapping_sub(unzigzag(take(from)?));
        let IdEntry { id, event } = IdEntry::read(from, None, base)?;
        Some(Self { created_at, id, event })
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { created_at: row.get(0)?, id: row.get(1)?, event: row.get(2)? })
    }

    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = sqlite!("recent_time_add");
        connection.prepare_cached(sql)?.execute(params![self.created_at, self.id, self.event]).map(drop)
    }

    fn delete(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = sqlite!("recent_time_remove");
        connection.prepare_cached(sql)?.execute(params![self.created_at, self.id]).map(drop)
    }
}

impl Dated for TimeEntry {
    const BETWEEN: &'static str = sqlite!("recent_time_between");

    fn created_at(&self) -> i64 {
        self.created_at
    }

    fn span(first: &Self, last: &Self) -> (i64, i64) {
        (first.created_at, last.created_at)
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// Iterates over the entries of a block.
pub(super) struct Entries<'a, R> {
    rest: &'a [u8],
    base: i64,
    previous: Option<R>,
}

impl<'a, R: Record> Entries<'a, R> {
    pub(super) fn of(block: &'a [u8], base: i64) -> Self {
        Self { rest: block, base, previous: None }
    }
}

impl<R: Record> Iterator for Entries<'_, R> {
    type Item = Result<R, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = R::read(&mut self.rest, self.previous.as_ref(), self.base);
        self.previous = read;
        if read.is_none() {
            self.rest = &[];
        }
        Some(read.ok_or_else(|| StorageError::Damaged { what: "index block", detail: "it ends too soon".into() }))
    }
}

/// Encodes the entries of one block.
pub(super) fn pack<R: Record>(entries: &[R], base: i64) -> Vec<u8> {
    let mut block = Vec::with_capacity(entries.len() * 16);
    let mut previous = None;
    for entry in entries {
        entry.write(previous, base, &mut block);
        previous = Some(entry);
    }
    block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_back<R: Record + std::fmt::Debug>(entries: &[R], base: i64) -> Vec<R> {
        let block = pack(entries, base);
        Entries::of(&block, base).collect::<Result<_, _>>().expect("sound")
    }

    proptest! {
        #[test]
        fn a_block_of_keys_is_read_as_it_was_written(
            entries in prop::collection::btree_set(
                (prop_oneof![any::<i64>(), 0..3_i64], prop_oneof![any::<i64>(), 0..9_i64], 0..i64::MAX / 2), 0..60),
            base in -5..=0_i64,
        ) {
            let mut entries: Vec<_> =
                entries.into_iter().map(|(key, created_at, event)| TagEntry { key, created_at, event }).collect();
            entries.sort_unstable();
            prop_assert!(entries.is_sorted_by_key(Record::fence));
            prop_assert_eq!(read_back(&entries, base), entries);
        }

        #[test]
        fn a_block_of_ids_is_read_as_it_was_written(
            ids in prop::collection::btree_map(any::<[u8; 32]>(), 7..u32::MAX, 0..60),
            other: [u8; 32],
        ) {
            let entries: Vec<_> = ids.iter().map(|(id, k)| IdEntry { id: *id, event: i64::from(*k) }).collect();
            prop_assert!(entries.is_sorted_by_key(Record::fence));
            prop_assert_eq!(read_back(&entries, 7), entries.clone());
            let block = pack(&entries, 7);
            for entry in &entries {
                prop_assert_eq!(IdEntry::search(&block, &entry.id, 7), Some(entry.event));
            }
            prop_assert_eq!(IdEntry::search(&block, &other, 7), ids.get(&other).map(|k| i64::from(*k)));
        }

        #[test]
        fn a_block_of_times_is_read_as_it_was_written(
            times in prop::collection::btree_map(
                (prop_oneof![any::<i64>(), 0..3_i64], any::<[u8; 32]>()), 7..u32::MAX, 0..60),
        ) {
            let entry = |((created_at, id), event): (&(i64, [u8; 32]), &u32)|
                TimeEntry { created_at: *created_at, id: *id, event: i64::from(*event) };
            let mut entries: Vec<_> = times.iter().map(entry).collect();
            entries.sort_unstable();
            prop_assert!(entries.is_sorted_by_key(Record::fence));
            prop_assert!(entries.iter().all(|entry| TimeEntry::date(entry.fence()) == entry.created_at));
            prop_assert_eq!(read_back(&entries, 7), entries);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, base: i64) {
            Entries::<TagEntry>::of(&bytes, base).for_each(drop);
            Entries::<IdEntry>::of(&bytes, base.min(0)).for_each(drop);
            Entries::<TimeEntry>::of(&bytes, base.min(0)).for_each(drop);
        }
    }
}
