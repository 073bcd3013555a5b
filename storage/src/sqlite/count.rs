//! Events that filters ask for, all of them: to count, to name or to remove them.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use nostr::Filter;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::runs::{Dated, Indexes, Merge, Set, TimeEntry};
use crate::filter::tag_key;
use crate::search::{SEARCHED, search_terms};
use crate::select::fts5;
use crate::{StorageError, View};

/// An event that a filter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) event: i64,
    pub(super) created_at: i64,
}

/// Returns the events that any of the filters asks for, by number.
pub(super) fn found(connection: &Connection, set: &Arc<Set>, filters: &[Filter]) -> Result<Vec<Found>, StorageError> {
    let mut events = Vec::new();
    for filter in filters {
        let indexes = Indexes::new(connection, set)?;
        let mut search = Search { indexes, connection, filter, events: Vec::new() };
        search.run()?;
        events.append(&mut search.events);
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

/// Returns the oldest events that a filter asks for, at most so many, the oldest first.
pub(super) fn oldest(
    connection: &Connection,
    set: &Arc<Set>,
    filter: &Filter,
    most: usize,
) -> Result<Vec<Found>, StorageError> {
    if !is_about_time_only(filter) {
        let mut events = found(connection, set, std::slice::from_ref(filter))?;
        events.sort_unstable_by_key(|found| (found.created_at, found.event));
        events.truncate(most);
        return Ok(events);
    }
    // The index has the newest first: of all that go by, the last are kept.
    let mut newest = all(connection, set, filter)?;
    let mut last = VecDeque::new();
    while let Some(entry) = newest.next()? {
        if last.len() == most {
            last.pop_front();
        }
        last.push_back(Found { event: entry.event, created_at: entry.created_at });
    }
    Ok(last.into_iter().rev().take(most).collect())
}

/// Returns all events in the range of dates that a filter asks for, newest first.
pub(super) fn all<'c>(
    connection: &'c Connection,
    set: &Arc<Set>,
    filter: &Filter,
) -> Result<Merge<'c, TimeEntry>, StorageError> {
    let (since, until) = span(filter);
    Indexes::new(connection, set)?.all(since, until)
}

/// Returns whether a filter asks for nothing but dates.
pub(super) fn is_about_time_only(filter: &Filter) -> bool {
    filter.ids.is_none()
        && filter.authors.is_none()
        && filter.kinds.is_none()
        && filter.generic_tags.is_empty()
        && filter.search.as_deref().and_then(search_terms).is_none()
}

/// Removes what is hidden from a list of events.
pub(super) fn retain_shown(connection: &Connection, events: &mut Vec<Found>, view: View) -> Result<(), StorageError> {
    let View::Client { now } = view else { return Ok(()) };
    let mut hidden = connection.prepare_cached("select 1 from hidden where event = ?1 and since <= ?2")?;
    retain(events, |found| Ok(!hidden.exists([found.event, now])?))
}

/// Removes events that none of these relays was seen to hold.
pub(super) fn retain_sighted(
    connection: &Connection,
    events: &mut Vec<Found>,
    relays: &[i64],
) -> Result<(), StorageError> {
    let mut sighted = connection.prepare_cached("select 1 from sighting where event = ?1 and relay = ?2")?;
    retain(events, |found| {
        for relay in relays {
            if sighted.exists([found.event, *relay])? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

fn retain(
    events: &mut Vec<Found>,
    mut keep: impl FnMut(&mut Found) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    let mut kept = 0;
    for place in 0..events.len() {
        let mut found = events[place];
        if keep(&mut found)? {
            events[kept] = found;
            kept += 1;
        }
    }
    events.truncate(kept);
    Ok(())
}

/// The search for all events of a filter.
struct Search<'a> {
    connection: &'a Connection,
    indexes: Indexes<'a>,
    filter: &'a Filter,
    events: Vec<Found>,
}

impl Search<'_> {
    fn run(&mut self) -> Result<(), StorageError> {
        let filter = self.filter;
        let kinds = filter.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| i64::from(kind.as_u16())));
        let kinds: Option<Vec<i64>> = kinds.map(Iterator::collect);
        let (since, until) = span(filter);
        if let Some(terms) = filter.search.as_deref().and_then(search_terms) {
            if !terms.is_empty() {
                let mut find = self.connection.prepare_cached("select rowid from search where search match ?1")?;
                for event in find.query_map([fts5(&terms)], |row| row.get(0))? {
                    self.events.push(Found { event: event?, created_at: 0 });
                }
            }
            return self.retain_matching();
        }
        if let Some(ids) = &filter.ids {
            for id in ids {
                let found = self.indexes.find(id)?;
                self.events.extend(found.map(|event| Found { event, created_at: 0 }));
            }
            return self.retain_matching();
        }
        let mut tags = filter.generic_tags.iter();
        if let Some((letter, values)) = tags.next() {
            for value in values {
                let found = self.indexes.tagged(tag_key(letter.as_char(), value), since, until)?;
                self.take(found)?;
            }
            let only_tag = tags.next().is_none() && filter.authors.is_none() && filter.kinds.is_none();
            return if only_tag { Ok(()) } else { self.retain_matching() };
        }
        if let Some(authors) = &filter.authors {
            let mut find = self.connection.prepare_cached("select k from author where pubkey = ?1")?;
            for key in authors {
                let Some(author) = find.query_row([key.as_bytes()], |row| row.get(0)).optional()? else { continue };
                for kind in kinds.clone().map_or_else(|| self.indexes.kinds_of(author), Ok)? {
                    let found = self.indexes.authored(author, kind, since, until)?;
                    self.take(found)?;
                }
            }
            return Ok(());
        }
        match kinds {
            Some(kinds) => {
                for kind in kinds {
                    let found = self.indexes.of_kind(kind, since, until)?;
                    self.take(found)?;
                }
                Ok(())
            }
            None => {
                let found = self.indexes.all(since, until)?;
                self.take(found)
            }
        }
    }

    fn take<R: Dated>(&mut self, mut found: Merge<'_, R>) -> Result<(), StorageError> {
        while let Some(entry) = found.next()? {
            self.events.push(Found { event: entry.event(), created_at: entry.created_at() });
        }
        Ok(())
    }

    /// Removes events that are not what the filter asks for, as far as their rows and tags say, and adds the dates of the others.
    fn retain_matching(&mut self) -> Result<(), StorageError> {
        let filter = self.filter;
        let (since, until) = span(filter);
        let kinds: Option<HashSet<u16>> =
            filter.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_u16()).collect());
        let authors = match &filter.authors {
            Some(keys) => {
                let mut find = self.connection.prepare_cached("select k from author where pubkey = ?1")?;
                let found = keys.iter().map(|key| find.query_row([key.as_bytes()], |row| row.get(0)).optional());
                Some(found.filter_map(Result::transpose).collect::<rusqlite::Result<HashSet<i64>>>()?)
            }
            None => None,
        };
        let ids: Option<BTreeSet<i64>> = match &filter.ids {
            Some(ids) => {
                let found = ids.iter().map(|id| self.indexes.find(id)).filter_map(Result::transpose);
                Some(found.collect::<Result<_, _>>()?)
            }
            None => None,
        };
        let mut tags = Vec::new();
        for (letter, values) in &filter.generic_tags {
            let mut events = HashSet::new();
            for value in values {
                let mut found = self.indexes.tagged(tag_key(letter.as_char(), value), since, until)?;
                while let Some(entry) = found.next()? {
                    events.insert(entry.event);
                }
            }
            tags.push(events);
        }
        let only_searched = filter.search.as_deref().and_then(search_terms).is_some();
        let mut head = self.connection.prepare_cached(
            "select author, kind, created_at from event where k = ?1 and created_at >= ?2 and created_at <= ?3",
        )?;
        retain(&mut self.events, |found| {
            let event = found.event;
            if ids.as_ref().is_some_and(|ids| !ids.contains(&event)) || tags.iter().any(|of| !of.contains(&event)) {
                return Ok(false);
            }
            let row = head.query_row(params![event, since, until], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            let Some((author, kind, created_at)): Option<(i64, u16, i64)> = row.optional()? else { return Ok(false) };
            found.created_at = created_at;
            Ok(authors.as_ref().is_none_or(|authors| authors.contains(&author))
                && kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
                && (!only_searched || SEARCHED.contains(&kind)))
        })
    }
}

/// The dates that a filter asks for; both ends belong to them.
fn span(filter: &Filter) -> (i64, i64) {
    let second = |t: nostr::Timestamp| i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
    (filter.since.map_or(i64::MIN, second), filter.until.map_or(i64::MAX, second))
}

/// Returns how many events there are, where the totals say so.
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
        (None, None, [], View::All) => Ok(Some(query("select events from archive", &[])?)),
        // What is hidden is little beside what is there: it is taken away, not left out.
        (None, None, [], View::Client { now }) => Ok(Some(query(
            "select events - (select count(distinct event) from hidden where since <= ?1) from archive",
            &[now],
        )?)),
        (None, None, [relay], View::All) => Ok(Some(query("select events from relay where k = ?1", &[*relay])?)),
        (None, Some(kinds), [], view) => {
            let mut total = 0;
            for kind in kinds {
                let kind = i64::from(kind.as_u16());
                total += query("select coalesce(sum(events), 0) from kind where kind = ?1", &[kind])?;
            }
            if let View::Client { now } = view {
                let kinds: Vec<u16> = kinds.iter().map(|kind| kind.as_u16()).collect();
                let kinds = serde_json::to_string(&kinds).expect("numbers always serialize");
                let hidden = "select count(distinct hidden.event) from hidden join event on event.k = hidden.event \
                              where hidden.since <= ?1 and event.kind in (select value from json_each(?2))";
                total -=
                    connection.prepare_cached(hidden)?.query_row(params![now, kinds], |row| row.get::<_, i64>(0))?;
            }
            Ok(Some(total))
        }
        (Some(authors), None, [], View::All) => {
            let mut find = connection.prepare_cached("select events from author where pubkey = ?1")?;
            let found =
                authors.iter().map(|key| find.query_row([key.as_bytes()], |row| row.get::<_, i64>(0)).optional());
            Ok(Some(found.map(|n| n.map(Option::unwrap_or_default)).sum::<rusqlite::Result<i64>>()?))
        }
        _ => Ok(None),
    }
}
