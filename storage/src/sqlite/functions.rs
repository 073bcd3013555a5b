//! The SQL functions of the view `events` (a payload's tags, tag values and content), and ad-hoc statements that use them.

use std::sync::Arc;

use brotr_core::clock::unix_now;
use brotr_core::indexed_tags;
use data_encoding::HEXLOWER;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Error};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::StorageError;
use crate::archive::SqlRow;
use crate::payload::Codec;

/// Registers the functions on a connection.
pub(super) fn register(connection: &Connection, codec: &Arc<Codec>) -> rusqlite::Result<()> {
    define(connection, codec, "event_tags", |tags, _| json(&tags))?;
    define(connection, codec, "event_tagvalues", |tags, _| {
        json(&indexed_tags(&tags).map(|(letter, value)| format!("{letter}:{value}")).collect::<Vec<_>>())
    })?;
    define(connection, codec, "event_content", |_, content| content)?;
    // Leases end by the clock of the process, which a simulation replaces.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("unixepoch", 0, flags, |_| Ok(unix_now()))
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings always serialize")
}

fn define(
    connection: &Connection,
    codec: &Arc<Codec>,
    name: &str,
    shown: impl Fn(Vec<Vec<String>>, String) -> String + Send + 'static,
) -> rusqlite::Result<()> {
    let codec = codec.clone();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function(name, 1, flags, move |context| {
        let payload = context.get_raw(0).as_blob().map_err(|e| Error::UserFunctionError(e.into()))?;
        let (tags, content) = codec.unpack(payload).map_err(|e| Error::UserFunctionError(e.into()))?;
        Ok(shown(tags, content))
    })
}

/// Runs a statement and sends its column names and its rows, until the receiver is dropped.
pub(super) fn run(connection: &Connection, sql: &str, rows: &mpsc::Sender<SqlRow>) -> Result<(), StorageError> {
    // The connection cannot write to the archive, but a statement could write other files, or contain several statements.
    let mut statements = Batch::new(connection, sql);
    let (Some(mut statement), None) = (statements.next()?, statements.next()?) else {
        return Err(StorageError::Unfit("one statement is run at a time".into()));
    };
    if statement.column_count() == 0 || !statement.readonly() {
        return Err(StorageError::Unfit("only statements that read and give rows are run".into()));
    }
    let names: SqlRow = statement.column_names().into_iter().map(Value::from).collect();
    let columns = names.len();
    let _ = rows.blocking_send(names);
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let value = |place| {
            Ok(match row.get_ref(place)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(n) => n.into(),
                ValueRef::Real(x) => x.into(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
                ValueRef::Blob(bytes) => HEXLOWER.encode(bytes).into(),
            })
        };
        let row = (0..columns).map(value).collect::<rusqlite::Result<SqlRow>>()?;
        if rows.blocking_send(row).is_err() {
            break;
        }
    }
    Ok(())
}
