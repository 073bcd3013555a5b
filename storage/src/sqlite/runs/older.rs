//! Migration of archives whose ids and tags are in b-trees: these are read into runs, a portion at a time, when such an archive
//! is opened. If interrupted, it continues at the next opening.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::record::Record;
use super::write::{begin, last_entry, write_some};
use super::{HeadEntry, IdEntry, TagEntry, TimeEntry, load_runs};
use crate::StorageError;

/// Entries written per transaction.
const PORTION: usize = 500_000;
/// How often the progress is logged.
const LOGGED: Duration = Duration::from_secs(5);
/// Events of a run of the lowest level.
const LOWEST: i64 = 8_192;

/// Returns true if an archive's indexes are in runs.
pub(in crate::sqlite) fn is_settled(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(!connection.prepare("select 1 from sqlite_schema where name = 'tag'")?.exists([])?)
}

/// Moves an archive's indexes into runs if they are not. Nothing else may use the archive meanwhile.
pub(in crate::sqlite) fn settle(connection: &mut Connection) -> Result<(), StorageError> {
    settle_in(connection, PORTION)
}

/// Does the same with `portion` entries per transaction.
pub(super) fn settle_in(connection: &mut Connection, portion: usize) -> Result<(), StorageError> {
    if is_settled(connection)? {
        return Ok(());
    }
    name_unique_index(connection)?;
    build(connection, portion, "ids", ids_after)?;
    build(connection, portion, "tags", tags_after)?;
    build(connection, portion, "authors and kinds", heads_after)?;
    build(connection, portion, "times", times_after)?;
    let tx = connection.transaction()?;
    tx.execute_batch(
        "drop table tag; drop index event_by_id; drop index event_by_author; drop index event_by_kind; \
         drop index event_by_time; update archive set runs = runs + 1",
    )?;
    Ok(tx.commit()?)
}

/// Turns the index of `event.id`'s uniqueness into one that can be dropped; the index of ids now ensures uniqueness.
///
/// SQLite itself could only rewrite the whole table. The index of a constraint and a created index have the same form on disk,
/// and differ only in their rows of the schema.
fn name_unique_index(connection: &mut Connection) -> Result<(), StorageError> {
    let named = "select 1 from sqlite_schema where name = 'event_by_id'";
    if connection.prepare(named)?.exists([])? {
        return Ok(());
    }
    let version: i64 = connection.query_row("pragma schema_version", [], |row| row.get(0))?;
    connection.execute_batch("pragma writable_schema = on")?;
    let write = |connection: &mut Connection| {
        let tx = connection.transaction()?;
        let changed = tx.execute(
            "update sqlite_schema set sql = replace(sql, 'not null unique', 'not null') where type = 'table' and name = 'event'",
            [],
        )? + tx.execute(
            "update sqlite_schema set name = 'event_by_id', sql = 'CREATE UNIQUE INDEX event_by_id on event (id)' \
             where type = 'index' and name = 'sqlite_autoindex_event_1'",
            [],
        )?;
        if changed != 2 {
            return Err(StorageError::Damaged { what: "schema", detail: "table event has another form".into() });
        }
        tx.pragma_update(None, "schema_version", version + 1)?;
        Ok(tx.commit()?)
    };
    let written = write(connection);
    connection.execute_batch("pragma writable_schema = reset")?;
    written
}

/// A statement and its values.
type Select = (&'static str, Vec<Value>);

fn ids_after(after: Option<IdEntry>) -> Vec<Select> {
    let after = after.map_or(vec![], |entry| entry.id.to_vec());
    vec![("select id, k from event indexed by event_by_id where id > ?1 order by id", vec![after.into()])]
}

fn tags_after(after: Option<TagEntry>) -> Vec<Select> {
    let Some(TagEntry { key, created_at, event }) = after else {
        return vec![("select key, created_at, event from tag order by key, created_at desc, event", vec![])];
    };
    vec![
        (
            "select key, created_at, event from tag where key = ?1 and created_at = ?2 and event > ?3 order by event",
            vec![key.into(), created_at.into(), event.into()],
        ),
        (
            "select key, created_at, event from tag where key = ?1 and created_at < ?2 order by created_at desc, event",
            vec![key.into(), created_at.into()],
        ),
        (
            "select key, created_at, event from tag where key > ?1 order by key, created_at desc, event",
            vec![key.into()],
        ),
    ]
}

/// First by kind, then by author and kind.
fn heads_after(after: Option<HeadEntry>) -> Vec<Select> {
    let all_kinds = "select kind, created_at, k from event indexed by event_by_kind order by kind, created_at desc, k";
    let all_authors = "select (author << 16) | kind, created_at, k from event indexed by event_by_author \
                       order by author, kind, created_at desc, k";
    let Some(HeadEntry { key, created_at, event }) = after else {
        return vec![(all_kinds, vec![]), (all_authors, vec![])];
    };
    let (author, kind) = (key >> 16, key & i64::from(u16::MAX));
    if author == 0 {
        let more_kinds = "select kind, created_at, k from event indexed by event_by_kind where kind >= ?1 \
                          and (kind > ?1 or created_at < ?2 or created_at = ?2 and k > ?3) order by kind, created_at desc, k";
        return vec![(more_kinds, vec![kind.into(), created_at.into(), event.into()]), (all_authors, vec![])];
    }
    let more_authors = "select (author << 16) | kind, created_at, k from event indexed by event_by_author where author >= ?1 \
                        and (author > ?1 or kind > ?2 or kind = ?2 and (created_at < ?3 or created_at = ?3 and k > ?4)) \
                        order by author, kind, created_at desc, k";
    vec![(more_authors, vec![author.into(), kind.into(), created_at.into(), event.into()])]
}

fn times_after(after: Option<TimeEntry>) -> Vec<Select> {
    let Some(TimeEntry { created_at, id, .. }) = after else {
        let all = "select created_at, id, k from event indexed by event_by_time order by created_at desc, id";
        return vec![(all, vec![])];
    };
    let more = "select created_at, id, k from event indexed by event_by_time where created_at <= ?1 \
                and (created_at < ?1 or id > ?2) order by created_at desc, id";
    vec![(more, vec![created_at.into(), id.to_vec().into()])]
}

/// Writes the run of an index, unless it exists: all entries, in order, that `after` selects.
fn build<R: Record>(
    connection: &mut Connection,
    portion: usize,
    what: &str,
    after: impl Fn(Option<R>) -> Vec<Select>,
) -> Result<(), StorageError> {
    let index = R::INDEX as i64;
    let (events, last): (i64, i64) =
        connection.query_row("select events, last_k from archive", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let done = "select 1 from run where kind = ?1 and state = 'live'";
    if events == 0 || connection.prepare(done)?.exists([index])? {
        return Ok(());
    }
    let (mut total, mut logged) = (0, Instant::now());
    loop {
        let tx = connection.transaction()?;
        let begun = load_runs(&tx, "building", |_| None)?.into_iter().find(|run| run.index == index);
        let run = match begun {
            Some(run) => run,
            None => begin(&tx, R::INDEX, i64::from((events / LOWEST).max(1).ilog(4)), 1, last)?,
        };
        let selects = after(last_entry(&tx, &run)?);
        let mut statements = selects.iter().map(|(sql, _)| tx.prepare(sql)).collect::<rusqlite::Result<Vec<_>>>()?;
        let mut rows = Vec::new();
        for (statement, (_, args)) in statements.iter_mut().zip(selects.iter()).rev() {
            rows.push(statement.query(params_from_iter(args))?);
        }
        let next = || loop {
            let Some(first) = rows.last_mut() else { return Ok(None) };
            match first.next()? {
                Some(row) => return Ok(Some(R::from_row(row)?)),
                None => drop(rows.pop()),
            }
        };
        let (run, written, is_whole) = write_some(&tx, run, portion, next)?;
        if is_whole {
            tx.execute("update run set state = 'live' where n = ?1", [run.n])?;
        }
        drop(rows);
        drop(statements);
        tx.commit()?;
        total += written;
        if is_whole {
            return Ok(());
        }
        if logged.elapsed() >= LOGGED {
            tracing::info!(index = what, entries = total, "rewriting an index of an older archive");
            logged = Instant::now();
        }
    }
}
