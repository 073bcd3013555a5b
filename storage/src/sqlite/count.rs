//! Counting events, by the totals or an index where these know the answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use nostr::Filter;
use rusqlite::{Connection, OptionalExtension};

use super::runs::{Ids, Set, Tags};
use crate::filter::tag_key;
use crate::select::Narrowed;
use crate::{StorageError, View};

/// How many events have a tag, where nothing else is asked but a span of time: the index of tags knows all of that.
pub(super) fn tagged(
    connection: &Connection,
    set: &Arc<Set>,
    filter: &Filter,
    view: View,
) -> Result<Option<u64>, StorageError> {
    let only_tags =
        filter.ids.is_none() && filter.authors.is_none() && filter.kinds.is_none() && filter.search.is_none();
    let mut tags = filter.generic_tags.iter();
    let (Some((letter, values)), None, true) = (tags.next(), tags.next(), only_tags) else { return Ok(None) };
    let second = |t: nostr::Timestamp| i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
    let (since, until) = (filter.since.map_or(i64::MIN, second), filter.until.map_or(i64::MAX, second));
    let index = Tags::new(connection, set)?;
    let mut events = Vec::new();
    for value in values {
        let mut found = index.newest(tag_key(letter.as_char(), value), since, until)?;
        while let Some(entry) = found.next()? {
            events.push(entry.event);
        }
    }
    // An event can have several of the values.
    events.sort_unstable();
    events.dedup();
    let mut count = events.len() as u64;
    if let View::Client { now } = view {
        let mut hidden = connection.prepare_cached("select 1 from hidden where event = ?1 and since <= ?2")?;
        for event in events {
            count -= u64::from(hidden.exists([event, now])?);
        }
    }
    Ok(Some(count))
}

/// Answers what filters ask of ids and tags, whose indexes SQL cannot read.
pub(super) fn narrowed(
    connection: &Connection,
    set: &Arc<Set>,
    filters: &[Filter],
) -> Result<Vec<Narrowed>, StorageError> {
    let second = |t: nostr::Timestamp| i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
    let (mut by_id, by_tag) = (Ids::new(connection, set)?, Tags::new(connection, set)?);
    let mut answers = Vec::with_capacity(filters.len());
    for filter in filters {
        let mut filter = filter.clone();
        let mut lists = Vec::new();
        if let Some(ids) = filter.ids.take() {
            let found = ids.iter().map(|id| by_id.find(id)).filter_map(Result::transpose);
            lists.push(found.collect::<Result<BTreeSet<i64>, _>>()?);
        }
        let (since, until) = (filter.since.map_or(i64::MIN, second), filter.until.map_or(i64::MAX, second));
        for (letter, values) in std::mem::take(&mut filter.generic_tags) {
            let mut events = BTreeSet::new();
            for value in values {
                let mut found = by_tag.newest(tag_key(letter.as_char(), &value), since, until)?;
                while let Some(entry) = found.next()? {
                    events.insert(entry.event);
                }
            }
            lists.push(events);
        }
        let among = lists.into_iter().reduce(|a, b| &a & &b).map(|events| events.into_iter().collect());
        answers.push(Narrowed { filter, among });
    }
    Ok(answers)
}

/// How many events there are, where the totals say so.
pub(super) fn total(connection: &Connection, filters: &[Filter], relays: &[i64]) -> Result<Option<i64>, StorageError> {
    let [filter] = filters else { return Ok(None) };
    let bare = relays.is_empty()
        && filter.ids.is_none()
        && filter.search.is_none()
        && filter.generic_tags.is_empty()
        && filter.since.is_none()
        && filter.until.is_none();
    match (&filter.authors, &filter.kinds) {
        (None, None) if bare => Ok(Some(connection.query_row("select events from archive", [], |row| row.get(0))?)),
        (None, Some(kinds)) if bare => {
            let mut find = connection.prepare_cached("select events from kind where kind = ?1")?;
            let found = kinds.iter().map(|kind| find.query_row([kind.as_u16()], |row| row.get::<_, i64>(0)).optional());
            Ok(Some(found.map(|n| n.map(Option::unwrap_or_default)).sum::<rusqlite::Result<i64>>()?))
        }
        (Some(authors), None) if bare => {
            let mut find = connection.prepare_cached("select events from author where pubkey = ?1")?;
            let found =
                authors.iter().map(|key| find.query_row([key.as_bytes()], |row| row.get::<_, i64>(0)).optional());
            Ok(Some(found.map(|n| n.map(Option::unwrap_or_default)).sum::<rusqlite::Result<i64>>()?))
        }
        _ => Ok(None),
    }
}
