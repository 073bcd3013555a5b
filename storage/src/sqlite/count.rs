//! All events that match filters: to count, to list or to remove them.
//!
//! They are collected as compressed bitmaps of their numbers: at most one bit per event of the archive, whatever the filters.

use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use brotr_core::{Offset, Sketch};
use nostr::Filter;
use roaring::RoaringTreemap;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::authors;
use super::runs::{Dated, Indexes, Merge, Set, TimeEntry};
use crate::query::sqlite;
use crate::search::{SEARCHED, search_terms};
use crate::select::fts5;
use crate::tag_key::tag_key;
use crate::{StorageError, View};

/// Returns the numbers of the events that match any of the filters.
pub(super) fn found(
    connection: &Connection,
    set: &Arc<Set>,
    filters: &[Filter],
) -> Result<RoaringTreemap, StorageError> {
    let mut events = RoaringTreemap::new();
    for filter in filters {
        events |= Search { connection, indexes: Indexes::new(connection, set)?, filter }.run()?;
    }
    Ok(events)
}

/// Returns the numbers of the oldest events that match a filter, at most `most`, oldest first.
pub(super) fn oldest(
    connection: &Connection,
    set: &Arc<Set>,
    filter: &Filter,
    most: usize,
) -> Result<Vec<i64>, StorageError> {
    let mut oldest = BinaryHeap::new();
    let mut take = |created_at: i64, event: i64| {
        oldest.push((created_at, event));
        if oldest.len() > most {
            oldest.pop();
        }
    };
    if is_about_time_only(filter) {
        let mut all = all(connection, set, filter)?;
        while let Some(entry) = all.next()? {
            take(entry.created_at, entry.event);
        }
    } else {
        let mut date = connection.prepare_cached(sqlite!("event_date"))?;
        for event in found(connection, set, std::slice::from_ref(filter))? {
            let event = number(event);
            take(date.query_row([event], |row| row.get(0))?, event);
        }
    }
    Ok(oldest.into_sorted_vec().into_iter().map(|(_, event)| event).collect())
}

/// Returns all events in the filter's range of dates, newest first.
pub(super) fn all<'c>(
    connection: &'c Connection,
    set: &Arc<Set>,
    filter: &Filter,
) -> Result<Merge<'c, TimeEntry>, StorageError> {
    let (since, until) = span(filter);
    Indexes::new(connection, set)?.all(since, until)
}

/// Returns true if a filter restricts nothing but dates.
pub(super) fn is_about_time_only(filter: &Filter) -> bool {
    filter.ids.is_none()
        && filter.authors.is_none()
        && filter.kinds.is_none()
        && filter.generic_tags.is_empty()
        && filter.search.as_deref().and_then(search_terms).is_none()
}

/// Returns the statement that finds whether an event is hidden.
pub(super) fn hidden(view: View) -> &'static str {
    match view {
        View::Versions { .. } => sqlite!("hidden_check_version"),
        View::All | View::Client { .. } => sqlite!("hidden_check"),
    }
}

/// Removes hidden events from a set.
pub(super) fn retain_shown(
    connection: &Connection,
    events: &mut RoaringTreemap,
    view: View,
) -> Result<(), StorageError> {
    let Some((now, _)) = view.hides() else { return Ok(()) };
    let mut hidden = connection.prepare_cached(hidden(view))?;
    retain(events, |event| Ok(!hidden.exists([event, now])?))
}

/// Removes events from a set that none of these relays was seen to hold.
pub(super) fn retain_sighted(
    connection: &Connection,
    events: &mut RoaringTreemap,
    relays: &[i64],
) -> Result<(), StorageError> {
    let mut sighted = connection.prepare_cached(sqlite!("sighting_check"))?;
    retain(events, |event| {
        for relay in relays {
            if sighted.exists([event, *relay])? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// Sketches the authors of events.
pub(super) fn sketch(connection: &Connection, events: &RoaringTreemap, offset: Offset) -> Result<Sketch, StorageError> {
    let mut find = connection.prepare_cached(sqlite!("event_author"))?;
    let mut authors = RoaringTreemap::new();
    for event in events {
        let author: i64 = find.query_row([number(event)], |row| row.get(0))?;
        authors.insert(author.cast_unsigned());
    }
    let mut find = connection.prepare_cached(sqlite!("author_pubkey"))?;
    let mut sketch = Sketch::default();
    for author in authors {
        sketch.add(&find.query_row([number(author)], |row| row.get(0))?, offset);
    }
    Ok(sketch)
}

fn retain(
    events: &mut RoaringTreemap,
    mut keep: impl FnMut(i64) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    let mut kept = RoaringTreemap::new();
    for event in &*events {
        if keep(number(event))? {
            kept.insert(event);
        }
    }
    *events = kept;
    Ok(())
}

/// Returns an event's number as it is in SQL.
pub(super) fn number(event: u64) -> i64 {
    event.cast_signed()
}

/// A search for all events that match a filter.
struct Search<'a> {
    connection: &'a Connection,
    indexes: Indexes<'a>,
    filter: &'a Filter,
}

impl Search<'_> {
    /// Answers from the indexes where they suffice, and from the rows for the rest.
    fn run(mut self) -> Result<RoaringTreemap, StorageError> {
        let filter = self.filter;
        let mut parts = Vec::new();
        if let Some(terms) = filter.search.as_deref().and_then(search_terms) {
            parts.push(self.searched(&terms)?);
        }
        if let Some(ids) = &filter.ids {
            let found = ids.iter().map(|id| self.indexes.find(id)).filter_map(Result::transpose);
            let found = found.map(|event| event.map(i64::cast_unsigned));
            parts.push(found.collect::<Result<_, StorageError>>()?);
        }
        let (since, until) = span(filter);
        for (letter, values) in &filter.generic_tags {
            let mut events = RoaringTreemap::new();
            for value in values {
                add(&mut events, self.indexes.tagged(tag_key(letter.as_char(), value), since, until)?)?;
            }
            parts.push(events);
        }
        match parts.into_iter().reduce(|a, b| a & b) {
            Some(mut events) => {
                self.retain_matching(&mut events)?;
                Ok(events)
            }
            None => self.headed(),
        }
    }

    /// Returns events of the searched kinds that have all terms.
    fn searched(&self, terms: &[String]) -> Result<RoaringTreemap, StorageError> {
        let mut events = RoaringTreemap::new();
        if !terms.is_empty() {
            let mut find = self.connection.prepare_cached(sqlite!("search_find"))?;
            let mut rows = find.query([fts5(terms)])?;
            while let Some(row) = rows.next()? {
                events.insert(row.get::<_, i64>(0)?.cast_unsigned());
            }
        }
        Ok(events)
    }

    /// Returns the events that match by author, kind and date, from the indexes alone.
    fn headed(&self) -> Result<RoaringTreemap, StorageError> {
        let (since, until) = span(self.filter);
        let kinds = self.kinds();
        let mut events = RoaringTreemap::new();
        match (self.authors()?, kinds) {
            (Some(authors), kinds) => {
                for author in authors {
                    for kind in kinds.clone().map_or_else(|| self.indexes.kinds_of(author), Ok)? {
                        add(&mut events, self.indexes.authored(author, kind, since, until)?)?;
                    }
                }
            }
            (None, Some(kinds)) => {
                for kind in kinds {
                    add(&mut events, self.indexes.of_kind(kind, since, until)?)?;
                }
            }
            (None, None) => add(&mut events, self.indexes.all(since, until)?)?,
        }
        Ok(events)
    }

    fn kinds(&self) -> Option<Vec<i64>> {
        self.filter.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| i64::from(kind.as_u16())).collect())
    }

    /// Returns the numbers of the filter's authors that are known.
    fn authors(&self) -> Result<Option<HashSet<i64>>, StorageError> {
        let Some(keys) = &self.filter.authors else { return Ok(None) };
        let mut find = self.connection.prepare_cached(sqlite!("author_key"))?;
        let found = keys.iter().map(|key| find.query_row([key.as_bytes()], |row| row.get(0)).optional());
        Ok(Some(found.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()?))
    }

    /// Removes events from a set that do not match by author, kind and date.
    fn retain_matching(&self, events: &mut RoaringTreemap) -> Result<(), StorageError> {
        let filter = self.filter;
        let is_searched = filter.search.as_deref().and_then(search_terms).is_some();
        let of_tags_only = filter.ids.is_none() && filter.authors.is_none() && filter.kinds.is_none() && !is_searched;
        if of_tags_only {
            return Ok(());
        }
        let ((since, until), authors) = (span(filter), self.authors()?);
        let kinds: Option<HashSet<i64>> = self.kinds().map(|kinds| kinds.into_iter().collect());
        let mut head = self.connection.prepare_cached(sqlite!("event_author_kind"))?;
        retain(events, |event| {
            let row = head.query_row(params![event, since, until], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((author, kind)): Option<(i64, i64)> = row.optional()? else { return Ok(false) };
            Ok(authors.as_ref().is_none_or(|authors| authors.contains(&author))
                && kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
                && (!is_searched || SEARCHED.iter().any(|searched| i64::from(*searched) == kind)))
        })
    }
}

/// Adds the entries of an index to a set.
fn add<R: Dated>(events: &mut RoaringTreemap, mut found: Merge<'_, R>) -> Result<(), StorageError> {
    while let Some(entry) = found.next()? {
        events.insert(entry.event().cast_unsigned());
    }
    Ok(())
}

/// Returns the filter's range of dates, inclusive.
fn span(filter: &Filter) -> (i64, i64) {
    let second = |t: nostr::Timestamp| i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
    (filter.since.map_or(i64::MIN, second), filter.until.map_or(i64::MAX, second))
}

/// Returns the number of events, if the totals have it.
pub(super) fn total(
    connection: &Connection,
    filters: &[Filter],
    view: View,
    relays: &[i64],
) -> Result<Option<i64>, StorageError> {
    let [filter] = filters else { return Ok(None) };
    let others = Filter { kinds: None, authors: None, ..filter.clone() };
    if !is_about_time_only(&others) || filter.since.is_some() || filter.until.is_some() {
        return Ok(None);
    }
    let query = |sql: &str, args: &[i64]| {
        connection.prepare_cached(sql)?.query_row(params_from_iter(args), |row| row.get::<_, i64>(0))
    };
    match (&filter.authors, &filter.kinds, relays, view) {
        (None, None, [], View::All) => Ok(Some(query(sqlite!("count_all"), &[])?)),
        // Hidden events are few: they are subtracted, not filtered out.
        (None, None, [], View::Client { now }) => Ok(Some(query(sqlite!("count_shown"), &[now])?)),
        (None, None, [relay], View::All) => Ok(Some(query(sqlite!("count_of_relay"), &[*relay])?)),
        (None, Some(kinds), [], View::All | View::Client { .. }) => {
            let mut total = 0;
            for kind in kinds {
                let kind = i64::from(kind.as_u16());
                total += match view {
                    View::All => query(sqlite!("kind_count"), &[kind])?,
                    _ => query(sqlite!("kind_count_shown"), &[kind])?,
                };
            }
            // Events hidden permanently are subtracted; those hidden from a time on that has passed are looked up.
            if let View::Client { now } = view {
                let kinds: Vec<u16> = kinds.iter().map(|kind| kind.as_u16()).collect();
                let kinds = serde_json::to_string(&kinds).expect("numbers always serialize");
                let hidden = sqlite!("hidden_count_by_time");
                total -=
                    connection.prepare_cached(hidden)?.query_row(params![now, kinds], |row| row.get::<_, i64>(0))?;
            }
            Ok(Some(total))
        }
        (Some(keys), None, [], View::All) => {
            let mut find = connection.prepare_cached(authors::TOTAL)?;
            let found = keys.iter().map(|key| find.query_row([key.as_bytes()], |row| row.get::<_, i64>(1)).optional());
            Ok(Some(found.map(|n| n.map(Option::unwrap_or_default)).sum::<rusqlite::Result<i64>>()?))
        }
        _ => Ok(None),
    }
}
