//! Removes events, with everything that refers to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brotr_core::indexed_tags;
use rusqlite::{Connection, OptionalExtension, params};

use super::authors;
use super::runs::{self, Entries, Indexed, Indexes, Set};
use crate::StorageError;
use crate::payload::Codec;
use crate::query::sqlite;
use crate::search::SEARCHED;
use crate::tag_key::tag_key;

/// What must be known of an event to remove it.
struct Removed {
    indexed: Indexed,
    payload: Vec<u8>,
}

/// Removes events and updates the totals; returns how many existed.
pub(super) fn remove(
    connection: &Connection,
    set: &Arc<Set>,
    events: &[i64],
    codec: &Codec,
) -> Result<u64, StorageError> {
    let mut find = connection.prepare_cached(sqlite!("event_to_remove"))?;
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let row = find.query_row([event], |row| {
            Ok(Removed {
                payload: row.get(4)?,
                indexed: Indexed {
                    event: row.get(0)?,
                    author: row.get(1)?,
                    kind: row.get(2)?,
                    created_at: row.get(3)?,
                    id: row.get(5)?,
                },
            })
        });
        rows.extend(row.optional()?);
    }
    let mut pairs = BTreeMap::<(i64, u16), i64>::new();
    let mut relays = HashMap::<i64, i64>::new();
    let mut sightings = connection.prepare_cached(sqlite!("sighting_remove"))?;
    let mut entries = Entries::default();
    let mut hidden = connection.prepare_cached(sqlite!("hidden_remove"))?;
    let mut hidden_of_kind = BTreeMap::<u16, i64>::new();
    let mut lost = connection.prepare_cached(sqlite!("lost_remove"))?;
    let mut event = connection.prepare_cached(sqlite!("event_remove"))?;
    let mut text = connection.prepare_cached(sqlite!("search_remove"))?;
    for Removed { indexed, payload } in &rows {
        let Indexed { event: k, author, kind, .. } = *indexed;
        for relay in sightings.query_map([k], |row| row.get(0))? {
            *relays.entry(relay?).or_default() += 1;
        }
        let (tags, _) = codec.unpack(payload)?;
        entries.push(*indexed, indexed_tags(&tags).map(|(letter, value)| tag_key(letter, value)));
        let since = hidden.query_map([k], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        if since.contains(&0) {
            *hidden_of_kind.entry(kind).or_default() += 1;
        }
        lost.execute([k])?;
        if SEARCHED.contains(&kind) {
            text.execute([k])?;
        }
        event.execute([k])?;
        *pairs.entry((author, kind)).or_default() += 1;
    }
    runs::remove(connection, set, entries)?;
    let indexes = Indexes::new(connection, set)?;
    let mut of_author = connection.prepare_cached(sqlite!("author_remove_events"))?;
    let mut of_kind = connection.prepare_cached(sqlite!("kind_remove_events"))?;
    let mut gone = 0;
    for ((author, kind), n) in &pairs {
        let last = i64::from(!indexes.has_kind(*author, i64::from(*kind))?);
        authors::settle_one(connection, *author)?;
        let events: i64 = of_author.query_row([*author, *n, last], |row| row.get(0))?;
        gone += i64::from(events == 0);
        of_kind.execute([i64::from(*kind), *n, last])?;
    }
    let mut unhide = connection.prepare_cached(sqlite!("kind_remove_hidden"))?;
    for (kind, n) in &hidden_of_kind {
        unhide.execute([i64::from(*kind), *n])?;
    }
    let mut of_relay = connection.prepare_cached(sqlite!("relay_remove_sightings"))?;
    for (relay, n) in &relays {
        of_relay.execute([relay, n])?;
    }
    connection.execute(
        sqlite!("archive_remove_totals"),
        params![rows.len(), gone, relays.values().sum::<i64>(), indexes.oldest()?, indexes.newest()?],
    )?;
    Ok(rows.len() as u64)
}
