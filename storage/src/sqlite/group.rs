//! What the writer thread writes in one commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nostr::{EventId, PublicKey};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::authors::Addition;
use super::hints::Hint;
use super::memory::Memory;
use super::runs::{Entries, Indexed, Indexes, Set};
use crate::StorageError;
use crate::batch::{Batch, PreparedBatch, Stored};
use crate::decode::event_id;
use crate::options::Profile;
use crate::prepare::Prepared;
use crate::query::sqlite;
use crate::tag_key::tag_key;
use crate::view::{Scene, Slot, VANISH};

/// Rows per statement: starting and ending a statement costs as much as a row.
const ROWS: usize = 100;
/// The same for events, which have more columns.
const EVENT_ROWS: usize = 20;

/// Returns a statement that writes `rows` rows.
fn rows(head: &str, columns: usize, rows: usize, tail: &str) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("{head} values {} {tail}", vec![row.as_str(); rows].join(", "))
}

/// Splits a list into whole portions and single items: with two sizes, each statement stays prepared.
fn portions<T>(list: &[T], size: usize) -> impl Iterator<Item = &[T]> {
    let whole = list.chunks_exact(size);
    let rest = whole.remainder().chunks(1);
    whole.chain(rest)
}

/// The changes of one commit, collected so that each table is written once and in its own order.
pub(super) struct Group<'a> {
    pub(super) last_k: i64,
    profile: Profile,
    set: Arc<Set>,
    /// New events with their numbers.
    new: Vec<(i64, &'a Prepared)>,
    entries: Entries,
    /// The numbers of new events by id: the index of ids does not have them yet.
    ids: HashMap<EventId, i64>,
    /// Numbers of new events by author and kind.
    pairs: BTreeMap<(i64, u16), i64>,
    /// New sightings minus removed ones.
    sighted: i64,
    new_authors: i64,
    /// The highest number of an author before this commit.
    last_author: i64,
}

impl<'a> Group<'a> {
    pub(super) fn begin(connection: &Connection, profile: Profile, set: Arc<Set>) -> rusqlite::Result<Self> {
        let last_k = connection.prepare_cached(sqlite!("archive_last_event"))?.query_row([], |row| row.get(0))?;
        let last_author = sqlite!("author_last");
        let last_author = connection.prepare_cached(last_author)?.query_row([], |row| row.get(0))?;
        Ok(Self {
            last_k,
            last_author,
            profile,
            set,
            new: vec![],
            entries: Entries::default(),
            ids: HashMap::new(),
            pairs: BTreeMap::new(),
            sighted: 0,
            new_authors: 0,
        })
    }

    /// Writes the events of a batch and the sightings of everything it saw. `hints` are about the ids of its events, and then
    /// about those that it knows.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        memory: &mut Memory,
        batch: &'a PreparedBatch,
        hints: &[Option<Hint>],
        relay: Option<i64>,
    ) -> Result<Stored, StorageError> {
        let mut indexes = Indexes::new(connection, &self.set)?;
        let mut seen = Vec::with_capacity(batch.events.len() + batch.rest.known.len());
        let first_new = self.new.len();
        let (of_events, of_known) = hints.split_at(batch.events.len());
        for (prepared, hint) in batch.events.iter().zip(of_events) {
            let id = &prepared.event.id;
            let k = match self.find_hinted(&mut indexes, memory, id, *hint)? {
                Some(k) => k,
                None => {
                    self.last_k += 1;
                    self.ids.insert(*id, self.last_k);
                    self.new.push((self.last_k, prepared));
                    self.last_k
                }
            };
            seen.push(k);
        }
        let full = self.profile == Profile::Bigbrotr;
        for chunk in portions(&self.new[first_new..], EVENT_ROWS) {
            let mut insert = connection.prepare_cached(&rows(
                "insert into event (k, id, author, created_at, kind, sig, payload)",
                7,
                chunk.len(),
                "",
            ))?;
            let mut place = 0;
            for (k, Prepared { event, payload, tags, .. }) in chunk {
                let author = memory.author(connection, &event.pubkey)?;
                *self.pairs.entry((author, event.kind)).or_default() += 1;
                let (id, created_at) = (event.id.to_bytes(), event.created_at);
                let indexed = Indexed { event: *k, id, author, kind: event.kind, created_at };
                self.entries.push(indexed, tags.iter().copied());
                let sig = full.then_some(event.sig.as_slice());
                let row = params![k, event.id.as_bytes(), author, event.created_at, event.kind, sig, payload];
                for value in row {
                    place += 1;
                    insert.raw_bind_parameter(place, value)?;
                }
            }
            insert.raw_execute()?;
        }
        let stored = self.new.len() - first_new;
        if let Some(relay) = relay {
            for (id, hint) in batch.rest.known.iter().zip(of_known) {
                // An event that was removed since it was known has no sightings.
                seen.extend(self.find_hinted(&mut indexes, memory, id, *hint)?);
            }
            self.see(connection, relay, batch.rest.seen_at, seen)?;
            self.miss(connection, relay, &batch.rest)?;
        }
        Ok(Stored { stored, known: batch.events.len() - stored + batch.rest.known.len() })
    }

    /// Does what [`Group::find`] does, with what a reader found out about the id.
    ///
    /// A hint holds as long as no event is removed or renumbered. Whatever does so must go through `SqliteArchive::change`, which
    /// discards all hints.
    fn find_hinted(
        &self,
        indexes: &mut Indexes<'_>,
        memory: &Memory,
        id: &EventId,
        hint: Option<Hint>,
    ) -> Result<Option<i64>, StorageError> {
        match hint {
            Some(Hint::Stored(k)) => Ok(Some(k)),
            Some(Hint::NewAfter(k)) if memory.last_events.since(k) => {
                Ok(self.ids.get(id).copied().or_else(|| memory.last_events.find(id)))
            }
            _ => self.find(indexes, id),
        }
    }

    /// Returns the number of an event that is stored, or will be with this group.
    fn find(&self, indexes: &mut Indexes<'_>, id: &EventId) -> Result<Option<i64>, StorageError> {
        match self.ids.get(id) {
            Some(k) => Ok(Some(*k)),
            None => indexes.find(id),
        }
    }

    /// Records that a relay was seen to hold these events.
    fn see(&mut self, connection: &Connection, relay: i64, seen_at: i64, mut seen: Vec<i64>) -> rusqlite::Result<()> {
        seen.sort_unstable();
        let mut new = 0;
        for chunk in portions(&seen, ROWS) {
            let mut insert = connection.prepare_cached(&rows(
                "insert or ignore into sighting (event, relay, seen_at)",
                3,
                chunk.len(),
                "",
            ))?;
            new += insert.execute(params_from_iter(chunk.iter().flat_map(|event| [*event, relay, seen_at])))?;
        }
        if new > 0 {
            self.sighted += i64::try_from(new).unwrap_or(i64::MAX);
            connection.prepare_cached(sqlite!("relay_add_sightings"))?.execute(params![relay, new, seen_at])?;
        }
        Ok(())
    }

    /// Removes sightings of events that a relay no longer holds.
    fn miss(&mut self, connection: &Connection, relay: i64, batch: &Batch) -> Result<(), StorageError> {
        let mut take = connection.prepare_cached(sqlite!("sighting_take_older"))?;
        let mut note = connection.prepare_cached(sqlite!("lost_add"))?;
        let mut missed: i64 = 0;
        let mut indexes = Indexes::new(connection, &self.set)?;
        for id in &batch.gone {
            let Some(k) = self.find(&mut indexes, id)? else { continue };
            let taken = take.query_row(params![k, relay, batch.seen_at], |row| Ok((row.get(0)?, row.get(1)?)));
            if let Some((event, seen_at)) = taken.optional()? {
                let (event, seen_at): (i64, i64) = (event, seen_at);
                note.execute([event, relay, seen_at, batch.seen_at])?;
                missed += 1;
            }
        }
        if missed > 0 {
            self.sighted -= missed;
            connection.prepare_cached(sqlite!("relay_remove_sightings"))?.execute([relay, missed])?;
        }
        Ok(())
    }

    /// Returns the ids of the new events, with their numbers.
    pub(super) fn take_ids(&mut self) -> HashMap<EventId, i64> {
        std::mem::take(&mut self.ids)
    }

    /// Returns the index entries of the new events.
    pub(super) fn take_entries(&mut self) -> Entries {
        std::mem::take(&mut self.entries)
    }

    pub(super) fn write_text(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(sqlite!("search_add"))?;
        for (k, prepared) in &self.new {
            if let Some(text) = &prepared.text {
                insert.execute(params![k, text])?;
            }
        }
        Ok(())
    }

    /// Adds the new events to the totals of author and kind.
    pub(super) fn write_totals(&mut self, connection: &Connection, memory: &mut Memory) -> Result<(), StorageError> {
        // These do not contain the new events yet.
        let indexes = Indexes::new(connection, &self.set)?;
        let mut authors = BTreeMap::<i64, Addition>::new();
        let mut kinds = BTreeMap::<u16, (i64, i64)>::new();
        for ((author, kind), n) in &self.pairs {
            let first = memory.add_pair(*author, *kind)
                && (*author > self.last_author || !indexes.has_kind(*author, i64::from(*kind))?);
            let of_author = authors.entry(*author).or_default();
            of_author.had_events |= !first;
            let first = i64::from(first);
            of_author.events += n;
            of_author.kinds += first;
            let of_kind = kinds.entry(*kind).or_default();
            *of_kind = (of_kind.0 + n, of_kind.1 + first);
        }
        self.new_authors += memory.totals.add(connection, &authors, self.last_author)?;
        let mut upsert = connection.prepare_cached(sqlite!("kind_add_events"))?;
        for (kind, (events, pairs)) in kinds {
            upsert.execute(params![kind, events, pairs])?;
        }
        Ok(())
    }

    /// Marks the events that the new ones hide, and those of the new ones that are hidden.
    pub(super) fn hide(&mut self, connection: &Connection, memory: &mut Memory) -> Result<(), StorageError> {
        let mut scene = Scene::default();
        let mut delete = connection.prepare_cached(sqlite!("deletion_add"))?;
        let mut target = connection.prepare_cached(sqlite!("deletion_target"))?;
        let mut indexes = Indexes::new(connection, &self.set)?;
        for (_, prepared) in &self.new {
            let (event, marks) = (&prepared.event, &prepared.marks);
            for (id, key) in &marks.deletes {
                delete.execute([key])?;
                scene.deletions.insert(*key);
                let Some(k) = self.find(&mut indexes, id)? else { continue };
                let found = target.query_row(params![k, event.pubkey.as_bytes()], |row| row.get(0));
                scene.hidden.extend(found.optional()?.map(|k: i64| (k, "deleted", 0)));
            }
            if marks.vanishes {
                self.vanish(connection, &event.pubkey, event.created_at)?;
                let until = memory.vanished(connection)?.entry(event.pubkey).or_insert(event.created_at);
                *until = (*until).max(event.created_at);
            }
        }
        scene.vanished.clone_from(memory.vanished(connection)?);
        if connection.prepare_cached(sqlite!("deletion_any"))?.exists([])? {
            let mut deleted = connection.prepare_cached(sqlite!("deletion_find"))?;
            for key in self.new.iter().filter_map(|(_, prepared)| prepared.marks.deletion) {
                if deleted.exists([key])? {
                    scene.deletions.insert(key);
                }
            }
        }
        let slots: HashSet<i64> =
            self.new.iter().flat_map(|(_, p)| p.marks.slot.iter().chain(&p.marks.clears)).copied().collect();
        let mut read = connection.prepare_cached(sqlite!("slot_find"))?;
        for key in slots {
            let row = read.query_row([key], |row| {
                let newest: (Option<i64>, Option<i64>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((newest, row.get(3)?))
            });
            if let Some((newest, deleted_until)) = row.optional()? {
                let newest = match newest {
                    (Some(k), Some(created_at), Some(id)) => Some((k, created_at, event_id(&id)?)),
                    _ => None,
                };
                scene.slots.insert(key, Slot { newest, deleted_until });
            }
        }
        // Deletions come first, whatever the order of arrival.
        self.new.sort_by_key(|(_, prepared)| prepared.marks.clears.is_empty());
        for (k, prepared) in &self.new {
            scene.take(*k, &prepared.marks);
        }
        let mut write = connection.prepare_cached(sqlite!("slot_set"))?;
        for key in &scene.changed {
            let slot = scene.slots.remove(key).unwrap_or_default();
            let (k, created_at, id) = match slot.newest {
                Some((k, created_at, id)) => (Some(k), Some(created_at), Some(id.to_bytes().to_vec())),
                None => (None, None, None),
            };
            write.execute(params![key, k, created_at, id, slot.deleted_until])?;
        }
        scene.hidden.sort_unstable();
        for (event, reason, since) in scene.hidden {
            mark(connection, event, reason, since)?;
        }
        Ok(())
    }

    pub(super) fn end(&self, connection: &Connection) -> rusqlite::Result<()> {
        let dates = || self.new.iter().map(|(_, prepared)| prepared.event.created_at);
        connection.prepare_cached(sqlite!("archive_add_totals"))?.execute(params![
            self.new.len(),
            self.sighted,
            self.new_authors,
            self.last_k,
            dates().min(),
            dates().max()
        ])?;
        Ok(())
    }

    /// Hides all events of an author, and all gift wraps to them, up to a date (NIP-62).
    fn vanish(&self, connection: &Connection, author: &PublicKey, until: i64) -> Result<(), StorageError> {
        let key = author.as_bytes();
        connection.prepare_cached(sqlite!("author_vanish"))?.execute(params![key, until])?;
        // Events of this group are hidden when they are taken in.
        let indexes = Indexes::new(connection, &self.set)?;
        let find = sqlite!("author_key");
        if let Some(number) = connection.prepare_cached(find)?.query_row([key], |row| row.get(0)).optional()? {
            for kind in indexes.kinds_of(number)?.into_iter().filter(|kind| *kind != i64::from(VANISH)) {
                let mut events = indexes.authored(number, kind, i64::MIN, until)?;
                while let Some(entry) = events.next()? {
                    mark(connection, entry.event, "vanished", 0)?;
                }
            }
        }
        let mut is_gift = connection.prepare_cached(sqlite!("event_is_gift"))?;
        let mut gifts = indexes.tagged(tag_key('p', &author.to_hex()), i64::MIN, until)?;
        while let Some(gift) = gifts.next()? {
            if is_gift.exists([gift.event])? {
                mark(connection, gift.event, "vanished", 0)?;
            }
        }
        Ok(())
    }
}

/// Marks an event as hidden, and counts it if it was not hidden permanently before. Events that are not stored are ignored.
fn mark(connection: &Connection, event: i64, reason: &str, since: i64) -> rusqlite::Result<()> {
    let mut kind = connection.prepare_cached(sqlite!("event_kind"))?;
    let Some(kind): Option<i64> = kind.query_row([event], |row| row.get(0)).optional()? else { return Ok(()) };
    let is_gone = connection.prepare_cached(sqlite!("hidden_for_good"))?.exists([event])?;
    let mut hide = connection.prepare_cached(sqlite!("hidden_add"))?;
    if hide.execute(params![event, reason, since])? == 1 && since == 0 && !is_gone {
        connection.prepare_cached(sqlite!("kind_add_hidden"))?.execute([kind])?;
    }
    Ok(())
}
