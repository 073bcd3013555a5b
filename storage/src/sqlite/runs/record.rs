//! The entries of the two indexes, and how a block holds them.

use nostr::EventId;

use crate::StorageError;
use crate::varint::{put, take};

/// Where an entry lies among all entries of its index. Two entries may share a fence; an entry that comes later never has
/// a smaller one.
pub(in crate::sqlite) type Fence = (u64, u64);

/// An entry of an index.
pub(in crate::sqlite) trait Record: Copy + Ord {
    /// The index, as table `run` names it.
    const INDEX: Index;

    /// The event's number.
    fn event(&self) -> i64;

    /// The entry's place.
    fn fence(&self) -> Fence;

    /// The id, if it belongs into the run's Bloom filters.
    fn id(&self) -> Option<[u8; 32]>;

    /// Appends the entry to a block. `base` is the first event number of the run, `previous` the entry before it in the block.
    fn write(&self, previous: Option<&Self>, base: i64, out: &mut Vec<u8>);

    /// Takes an entry off the front of a block; `None` if the block is damaged.
    fn read(from: &mut &[u8], previous: Option<&Self>, base: i64) -> Option<Self>;
}

/// Which index a run belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) enum Index {
    /// Events by id.
    Ids = 0,
    /// Events by tag.
    Tags = 1,
}

impl Index {
    pub(super) const ALL: [Self; 2] = [Self::Ids, Self::Tags];
}

/// An event's id and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sqlite) struct IdEntry {
    pub(in crate::sqlite) id: [u8; 32],
    pub(in crate::sqlite) event: i64,
}

impl IdEntry {
    /// Bytes of an entry in a block: the id and the distance of the number from the run's first.
    pub(super) const BYTES: usize = 36;

    pub(in crate::sqlite) fn new(id: &EventId, event: i64) -> Self {
        Self { id: id.to_bytes(), event }
    }

    /// Returns the number of the event that has this id, if the block holds it.
    pub(super) fn search(block: &[u8], id: &[u8; 32], base: i64) -> Option<i64> {
        let (entries, _) = block.as_chunks::<{ Self::BYTES }>();
        let place = entries.binary_search_by(|entry| entry[..32].cmp(id)).ok()?;
        let offset = entries[place].last_chunk::<4>()?;
        Some(base + i64::from(u32::from_le_bytes(*offset)))
    }
}

fn half(id: &[u8; 32], from: usize) -> u64 {
    u64::from_be_bytes(id[from..from + 8].try_into().expect("eight bytes"))
}

impl Record for IdEntry {
    const INDEX: Index = Index::Ids;

    fn event(&self) -> i64 {
        self.event
    }

    fn fence(&self) -> Fence {
        (half(&self.id, 0), half(&self.id, 8))
    }

    fn id(&self) -> Option<[u8; 32]> {
        Some(self.id)
    }

    fn write(&self, _previous: Option<&Self>, base: i64, out: &mut Vec<u8>) {
        let offset = u32::try_from(self.event - base).expect("a run spans less than 2^32 events");
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&offset.to_le_bytes());
    }

    fn read(from: &mut &[u8], _previous: Option<&Self>, base: i64) -> Option<Self> {
        let (entry, rest) = from.split_first_chunk::<{ Self::BYTES }>()?;
        *from = rest;
        let offset = u32::from_le_bytes(*entry.last_chunk()?);
        Some(Self { id: *entry.first_chunk()?, event: base + i64::from(offset) })
    }
}

/// An event that has a tag: the tag's key ([`crate::filter::tag_key`]), the event's date and number. Of one key the newest
/// come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) struct TagEntry {
    pub(in crate::sqlite) key: i64,
    pub(in crate::sqlite) created_at: i64,
    pub(in crate::sqlite) event: i64,
}

impl Ord for TagEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let order = |e: &Self| (e.key, std::cmp::Reverse(e.created_at), e.event);
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for TagEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Maps signed numbers to unsigned ones in the same order.
fn ordered(n: i64) -> u64 {
    n.cast_unsigned() ^ 1 << 63
}

impl Record for TagEntry {
    const INDEX: Index = Index::Tags;

    fn event(&self) -> i64 {
        self.event
    }

    fn fence(&self) -> Fence {
        (ordered(self.key), !ordered(self.created_at))
    }

    fn id(&self) -> Option<[u8; 32]> {
        None
    }

    /// Writes the distance of the key from the one before it, of the date from the one before it, and of the number from the
    /// run's first. The first entry of a block has its key in full.
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
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// The entries of a block, one after another.
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

/// Packs the entries of one block.
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
        fn a_block_of_tags_is_read_as_it_was_written(
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
        fn no_bytes_panic(bytes: Vec<u8>, base: i64) {
            Entries::<TagEntry>::of(&bytes, base).for_each(drop);
            Entries::<IdEntry>::of(&bytes, base.min(0)).for_each(drop);
        }
    }
}
