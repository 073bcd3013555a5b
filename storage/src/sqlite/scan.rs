//! The newest events that match a filter.
//!
//! A filter is answered from a few ranges of one index, each read newest first: one for each author and kind, tag value or
//! kind. A range ends at entries that are too old to be among the newest, so that a thousand ranges cost a thousand lookups.

use std::collections::{BTreeSet, BinaryHeap, HashSet};
use std::sync::Arc;

use nostr::{EventId, Filter, PublicKey};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::runs::{Dated, Indexes, Merge, Set, TagEntry};
use super::{authors, count};
use crate::decode::event_id;
use crate::query::sqlite;
use crate::search::{SEARCHED, search_terms};
use crate::select::fts5;
use crate::tag_key::tag_key;
use crate::view::replaceable_slot;
use crate::{Cursor, StorageError, View};

/// The most rows of a tag that are counted to learn whether it is rarer than the authors.
const LOOK: usize = 2_000;

/// Words that at most this many events have are looked up event by event; for others at most this many times as many rows are
/// read.
const FEW: usize = 1_000;
const WALK: usize = 4;

/// The most events that are found by words and gathered before any of them is read: 8 MiB. More frequent words are checked for
/// each event that the rest of the filter finds.
const GATHERED: usize = 1_000_000;

/// Reads an event by its number, if its date is in range.
const BY_NUMBER: &str = sqlite!("event_head");

/// The columns that decide whether an event is a hit.
struct Head {
    k: i64,
    created_at: i64,
    id: EventId,
    author: i64,
    kind: i64,
}

impl Head {
    /// Reads a row of [`BY_NUMBER`].
    fn of(row: &Row<'_>) -> Result<Self, StorageError> {
        Ok(Self {
            k: row.get(0)?,
            created_at: row.get(1)?,
            id: event_id(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?,
            author: row.get(3)?,
            kind: row.get(4)?,
        })
    }
}

/// A hit. The greatest is the first to be dropped: the oldest, and the highest id within a second.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    age: std::cmp::Reverse<i64>,
    id: EventId,
    k: i64,
}

/// An author of a filter.
struct Author {
    key: PublicKey,
    number: i64,
    /// How many events the archive has.
    events: i64,
}

/// Conditions that are left to be checked for each event of a range.
struct Rest {
    ids: Option<BTreeSet<EventId>>,
    authors: Option<HashSet<i64>>,
    kinds: Option<HashSet<i64>>,
    tags: Vec<Vec<i64>>,
    after: Option<Cursor>,
    view: View,
    /// Terms that the event must have, for FTS5.
    terms: Option<String>,
}

/// Returns the numbers of the newest events, in order; at most `limit`.
pub(super) fn newest(
    connection: &Connection,
    set: &Arc<Set>,
    filter: &Filter,
    view: View,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<i64>, StorageError> {
    newest_gathering(GATHERED, connection, set, filter, view, after, limit)
}

fn newest_gathering(
    gathered: usize,
    connection: &Connection,
    set: &Arc<Set>,
    filter: &Filter,
    view: View,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<i64>, StorageError> {
    let second = |t: nostr::Timestamp| i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
    let since = filter.since.map_or(0, second);
    let mut until = filter.until.map_or(i64::MAX, second);
    if let Some(cursor) = after {
        until = until.min(cursor.created_at);
    }
    let terms = filter.search.as_deref().and_then(search_terms);
    let mut kinds: Option<Vec<i64>> = filter.kinds.as_ref().map(|k| k.iter().map(|k| i64::from(k.as_u16())).collect());
    if terms.is_some() {
        let is_searched = |kind: &i64| SEARCHED.iter().any(|searched| i64::from(*searched) == *kind);
        kinds =
            Some(kinds.map_or_else(
                || SEARCHED.map(i64::from).to_vec(),
                |list| list.into_iter().filter(is_searched).collect(),
            ));
    }
    let authors = filter.authors.as_ref().map(|keys| found_authors(connection, keys)).transpose()?;
    let tags: Vec<Vec<i64>> = filter
        .generic_tags
        .iter()
        .map(|(letter, values)| values.iter().map(|value| tag_key(letter.as_char(), value)).collect())
        .collect();
    let nothing = limit == 0
        || terms.as_ref().is_some_and(Vec::is_empty)
        || since > until
        || filter.ids.as_ref().is_some_and(|ids| ids.is_empty())
        || kinds.as_ref().is_some_and(Vec::is_empty)
        || authors.as_ref().is_some_and(Vec::is_empty)
        || tags.iter().any(Vec::is_empty);
    if nothing {
        return Ok(Vec::new());
    }
    let indexes = Indexes::new(connection, set)?;
    let rarest = rarest(&indexes, since, until, &tags, authors.as_deref())?;
    let rest = Rest {
        ids: None,
        authors: authors.as_ref().map(|list| list.iter().map(|author| author.number).collect()),
        kinds: kinds.as_ref().map(|list| list.iter().copied().collect()),
        tags,
        after,
        view,
        terms: None,
    };
    let mut scan = Scan::new(connection, indexes, rest, since, until, limit)?;
    if let Some(terms) = terms {
        scan.rest.ids.clone_from(&filter.ids);
        let narrow = filter.ids.is_some() || authors.is_some() || !filter.generic_tags.is_empty();
        let terms = fts5(&terms);
        if scan.search(&terms, kinds.as_deref().unwrap_or_default(), narrow, gathered)? {
            return Ok(scan.numbers());
        }
        scan.rest.terms = Some(terms);
    }
    if let Some(ids) = &filter.ids {
        for id in ids {
            if let Some(k) = scan.indexes.find(id)? {
                scan.event(k)?;
            }
        }
    } else if let Some(place) = rarest {
        for key in std::mem::take(&mut scan.rest.tags[place]) {
            scan.range(|indexes, since, until| indexes.tagged(key, since, until))?;
        }
    } else if let Some(authors) = authors {
        for author in authors {
            for kind in kinds.clone().map_or_else(|| scan.indexes.kinds_of(author.number), Ok)? {
                let slot = u16::try_from(kind).ok().and_then(|kind| replaceable_slot(&author.key, kind));
                match slot.filter(|_| matches!(view, View::Client { .. })) {
                    Some(slot) => scan.slot(slot)?,
                    None => scan.range(|indexes, since, until| indexes.authored(author.number, kind, since, until))?,
                }
            }
        }
    } else if let Some(kinds) = kinds {
        for kind in kinds {
            scan.range(|indexes, since, until| indexes.of_kind(kind, since, until))?;
        }
    } else {
        scan.range(Indexes::all)?;
    }
    Ok(scan.numbers())
}

/// Finds the authors of a filter that have events.
fn found_authors(connection: &Connection, keys: &BTreeSet<PublicKey>) -> rusqlite::Result<Vec<Author>> {
    let mut find = connection.prepare_cached(authors::TOTAL)?;
    let mut found = Vec::new();
    for key in keys {
        let author = |row: &Row<'_>| Ok(Author { key: *key, number: row.get(0)?, events: row.get(1)? });
        found.extend(find.query_row([key.as_bytes()], author).optional()?);
    }
    // The most active first: their events soon leave nothing older to look for.
    found.sort_unstable_by_key(|author| std::cmp::Reverse(author.events));
    Ok(found)
}

/// Returns the tag to read, if any: the one with the fewest events in this range of dates, unless the authors have fewer.
fn rarest(
    indexes: &Indexes<'_>,
    since: i64,
    until: i64,
    tags: &[Vec<i64>],
    authors: Option<&[Author]>,
) -> Result<Option<usize>, StorageError> {
    if tags.len() + usize::from(authors.is_some()) < 2 {
        return Ok((!tags.is_empty()).then_some(0));
    }
    let of_authors = authors.map_or(i64::MAX, |list| list.iter().map(|author| author.events).sum());
    let mut best = (usize::try_from(of_authors).unwrap_or(usize::MAX), None);
    for (place, keys) in tags.iter().enumerate() {
        let mut events = 0;
        for key in keys {
            let mut found = indexes.tagged(*key, since, until)?;
            let most = best.0.min(events + LOOK);
            while events < most && found.next()?.is_some() {
                events += 1;
            }
            if events >= best.0 {
                break;
            }
        }
        if events < best.0 {
            best = (events, Some(place));
        }
    }
    Ok(best.1)
}

struct Scan<'c> {
    connection: &'c Connection,
    rest: Rest,
    since: i64,
    until: i64,
    limit: usize,
    hits: BinaryHeap<Hit>,
    /// Events that were met, if ranges can overlap.
    met: HashSet<i64>,
    indexes: Indexes<'c>,
    by_k: CachedStatement<'c>,
    is_hidden: CachedStatement<'c>,
    has_terms: CachedStatement<'c>,
}

impl<'c> Scan<'c> {
    fn new(
        connection: &'c Connection,
        indexes: Indexes<'c>,
        rest: Rest,
        since: i64,
        until: i64,
        limit: usize,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            since,
            until,
            limit,
            hits: BinaryHeap::new(),
            met: HashSet::new(),
            indexes,
            by_k: connection.prepare_cached(BY_NUMBER)?,
            is_hidden: connection.prepare_cached(count::hidden(rest.view))?,
            has_terms: connection.prepare_cached(sqlite!("search_check"))?,
            rest,
        })
    }

    /// Reads one range of an index until its entries are too old to count.
    fn range<R: Dated>(
        &mut self,
        read: impl FnOnce(&Indexes<'c>, i64, i64) -> Result<Merge<'c, R>, StorageError>,
    ) -> Result<(), StorageError> {
        let since = if self.hits.len() < self.limit { self.since } else { self.oldest() };
        let mut found = read(&self.indexes, since, self.until)?;
        while let Some(entry) = found.next()? {
            if self.hits.len() == self.limit && entry.created_at() < self.oldest() {
                break;
            }
            self.event(entry.event())?;
        }
        Ok(())
    }

    /// Reads the newest version of a replaceable event. Clients do not see older ones.
    fn slot(&mut self, key: i64) -> Result<(), StorageError> {
        let mut find = self.connection.prepare_cached(sqlite!("slot_event"))?;
        match find.query_row([key], |row| row.get(0)).optional()?.flatten() {
            Some(k) => self.event(k),
            None => Ok(()),
        }
    }

    /// Adds an event to the hits if it is one, and is among the newest.
    fn event(&mut self, k: i64) -> Result<(), StorageError> {
        let since = if self.hits.len() < self.limit { self.since } else { self.oldest() };
        let mut rows = self.by_k.query(params![k, since, self.until])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let head = Head::of(row)?;
        drop(rows);
        if self.is_hit(&head)? && self.met.insert(head.k) {
            self.hits.push(Hit { age: std::cmp::Reverse(head.created_at), id: head.id, k: head.k });
            if self.hits.len() > self.limit {
                self.hits.pop();
            }
        }
        Ok(())
    }

    fn numbers(self) -> Vec<i64> {
        self.hits.into_sorted_vec().into_iter().map(|hit| hit.k).collect()
    }

    /// Reads the events that have words. If many have, the newest of a kind are searched for them before each of them is looked
    /// up. Returns false, having read nothing, if more than `most` have them.
    fn search(&mut self, words: &str, kinds: &[i64], narrow: bool, most: usize) -> Result<bool, StorageError> {
        let connection = self.connection;
        let mut find = connection.prepare_cached(sqlite!("search_find_some"))?;
        let found = find.query_map(params![words, most + 1], |row| row.get(0))?;
        let found = found.collect::<rusqlite::Result<Vec<i64>>>()?;
        if found.len() > most {
            return Ok(false);
        }
        if found.len() > FEW && !narrow {
            let mut left = found.len() * WALK;
            for kind in kinds {
                let mut newest = self.indexes.of_kind(*kind, self.since, self.until)?;
                while let Some(entry) = newest.next()? {
                    if left == 0 || self.hits.len() == self.limit && entry.created_at < self.oldest() {
                        break;
                    }
                    left -= 1;
                    if found.binary_search(&entry.event).is_ok() {
                        self.event(entry.event)?;
                    }
                }
            }
            if left > 0 {
                return Ok(true);
            }
        }
        for k in found {
            self.event(k)?;
        }
        Ok(true)
    }

    /// Returns the date of the oldest hit, once there are as many as are wanted.
    fn oldest(&self) -> i64 {
        self.hits.peek().map_or(0, |hit| hit.age.0)
    }

    /// Returns true if an event matches.
    fn is_hit(&mut self, head: &Head) -> Result<bool, StorageError> {
        let rest = &self.rest;
        let after = |cursor: Cursor| head.created_at < cursor.created_at || head.id > cursor.id;
        if !rest.after.is_none_or(after)
            || rest.ids.as_ref().is_some_and(|list| !list.contains(&head.id))
            || rest.authors.as_ref().is_some_and(|list| !list.contains(&head.author))
            || rest.kinds.as_ref().is_some_and(|list| !list.contains(&head.kind))
        {
            return Ok(false);
        }
        for keys in rest.tags.iter().filter(|keys| !keys.is_empty()) {
            let mut found = false;
            for key in keys {
                let tag = TagEntry { key: *key, created_at: head.created_at, event: head.k };
                found = self.indexes.has_tag(tag)?;
                if found {
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        if let Some(terms) = &rest.terms
            && !self.has_terms.exists(params![terms, head.k])?
        {
            return Ok(false);
        }
        if let Some((now, _)) = rest.view.hides()
            && self.is_hidden.exists(params![head.k, now])?
        {
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use brotr_core::Event;
    use nostr::{EventBuilder, Keys, Kind, Tag, Timestamp};

    use super::*;
    use crate::options::Options;
    use crate::{Archive, Batch, EventStore, SqliteArchive};

    #[tokio::test(flavor = "multi_thread")]
    async fn frequent_terms_have_the_results_of_rare_ones() {
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}", dir.path().join("brotr.db").display());
        let archive = SqliteArchive::open(&url, Options { search: true, ..Options::default() }).await.expect("opened");
        assert_eq!(archive.backend(), "SQLite");
        let keys = [Keys::generate(), Keys::generate()];
        let event = |i: usize| {
            let text = ["common", "common rare", "other"][i % 3];
            let builder = EventBuilder::new(Kind::from([1_u16, 30_023, 7][i % 7 % 3]), format!("{text} {i}"));
            let builder = builder.tags([Tag::identifier(i.to_string()), Tag::hashtag(["a", "b"][i % 2])]);
            let builder = builder.custom_created_at(Timestamp::from((i * 7_919 % 100) as u64));
            Event::from(&builder.sign_with_keys(&keys[i % 2]).expect("signed")).verify().expect("verified")
        };
        let events: Vec<_> = (0..600).map(event).collect();
        let some_ids: Vec<_> = events.iter().step_by(5).map(|event| event.event().id).collect();
        archive.store(Batch { events, ..Batch::default() }).await.expect("stored");
        let runs = archive.runs.clone();
        let connection = archive.readers.read(move |connection| {
            let tx = connection.unchecked_transaction()?;
            let set = runs.at(&tx)?;
            let filters = [
                Filter::new(),
                Filter::new().kind(Kind::TextNote),
                Filter::new().kind(Kind::Reaction),
                Filter::new().author(keys[0].public_key()),
                Filter::new().hashtag("b").since(Timestamp::from(30)),
                Filter::new().ids(some_ids),
            ];
            for filter in filters {
                for (word, limit) in [("common", 20), ("common", 1_000), ("RARE common", 7), ("nowhere", 5)] {
                    let filter = filter.clone().search(word);
                    let find = |most| newest_gathering(most, &tx, &set, &filter, View::All, None, limit);
                    let wanted = find(GATHERED)?;
                    assert_eq!(find(10)?, wanted, "{filter:?} {limit}");
                    assert!(wanted.len() <= limit);
                    assert!((word == "nowhere") == wanted.is_empty() || filter.kinds.is_some());
                }
            }
            Ok(())
        });
        connection.await.expect("read");
        archive.close().await;
    }
}
