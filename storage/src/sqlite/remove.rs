//! Removing events, with all that refers to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nostr::Filter;
use rusqlite::{Connection, params, params_from_iter};

use super::count::narrowed;
use super::runs::{self, IdEntry, Set, TagEntry};
use crate::filter::{indexed, tag_key};
use crate::payload::Codec;
use crate::search::SEARCHED;
use crate::select::{Condition, Dialect};
use crate::{StorageError, View};

/// What must be known of an event to remove it.
struct Removed {
    k: i64,
    author: i64,
    kind: i64,
    created_at: i64,
    payload: Vec<u8>,
    id: [u8; 32],
}

/// Removes some of what a filter asks for, oldest first, and takes it out of the totals; says how many were removed.
pub(super) fn remove(
    connection: &Connection,
    set: &Arc<Set>,
    filter: &Filter,
    most: u64,
    codec: &Codec,
) -> Result<u64, StorageError> {
    let narrowed = narrowed(connection, set, std::slice::from_ref(filter))?;
    let Condition { sql, args, .. } = Condition::among(Dialect::Sqlite, &narrowed, View::All, &[]);
    let sql = format!(
        "select k, author, kind, created_at, payload, id from event where {} order by created_at limit {most}",
        sql.replace('$', "?")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(args), |row| {
        Ok(Removed {
            k: row.get(0)?,
            author: row.get(1)?,
            kind: row.get(2)?,
            created_at: row.get(3)?,
            payload: row.get(4)?,
            id: row.get(5)?,
        })
    })?;
    let rows: Vec<Removed> = rows.collect::<rusqlite::Result<_>>()?;
    let mut pairs = BTreeMap::<(i64, i64), i64>::new();
    let mut relays = HashMap::<i64, i64>::new();
    let mut sightings = connection.prepare_cached("delete from sighting where event = ?1 returning relay")?;
    let (mut ids, mut tag_entries) = (Vec::new(), Vec::new());
    let mut hidden = connection.prepare_cached("delete from hidden where event = ?1")?;
    let mut lost = connection.prepare_cached("delete from lost where event = ?1")?;
    let mut event = connection.prepare_cached("delete from event where k = ?1")?;
    let mut text = connection.prepare_cached("delete from search where rowid = ?1")?;
    for Removed { k, author, kind, created_at, payload, id } in &rows {
        for relay in sightings.query_map([k], |row| row.get(0))? {
            *relays.entry(relay?).or_default() += 1;
        }
        let (tags, _) = codec.unpack(payload)?;
        tag_entries.extend(indexed(&tags).map(|(letter, value)| TagEntry {
            key: tag_key(letter, value),
            created_at: *created_at,
            event: *k,
        }));
        ids.push(IdEntry { id: *id, event: *k });
        hidden.execute([k])?;
        lost.execute([k])?;
        if SEARCHED.iter().any(|searched| i64::from(*searched) == *kind) {
            text.execute([k])?;
        }
        event.execute([k])?;
        *pairs.entry((*author, *kind)).or_default() += 1;
    }
    runs::remove(connection, set, ids, tag_entries)?;
    let mut left = connection.prepare_cached("select 1 from event where author = ?1 and kind = ?2 limit 1")?;
    let mut of_author = connection
        .prepare_cached("update author set events = events - ?2, kinds = kinds - ?3 where k = ?1 returning events")?;
    let mut of_kind =
        connection.prepare_cached("update kind set events = events - ?2, pubkeys = pubkeys - ?3 where kind = ?1")?;
    let mut gone = 0;
    for ((author, kind), n) in &pairs {
        let last = i64::from(!left.exists([author, kind])?);
        let events: i64 = of_author.query_row([*author, *n, last], |row| row.get(0))?;
        gone += i64::from(events == 0);
        of_kind.execute([*kind, *n, last])?;
    }
    let mut of_relay = connection.prepare_cached("update relay set events = events - ?2 where k = ?1")?;
    for (relay, n) in &relays {
        of_relay.execute([relay, n])?;
    }
    connection.execute(
        "update archive set events = events - ?1, pubkeys = pubkeys - ?2, sightings = sightings - ?3",
        params![rows.len(), gone, relays.values().sum::<i64>()],
    )?;
    Ok(rows.len() as u64)
}
