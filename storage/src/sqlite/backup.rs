//! Backups as one file, written beside the running archive and renamed once it was verified.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{MIGRATIONS, connection, file, lock, runs, schema_version};
use crate::StorageError;
use crate::backup::{place, unfinished};
use crate::files::{create_private_dir, open_private};
use crate::query::sqlite;
use crate::rows::Counts;

/// The first version of the schema with ids in runs.
const RUNS_SINCE: i64 = 8;

/// Writes a consistent copy while others go on writing.
pub(super) fn write(source: &Connection, target: &Path) -> Result<Counts, StorageError> {
    let part = unfinished(target)?;
    let name = part.to_str().ok_or_else(|| StorageError::Unfit(format!("{} is not UTF-8", part.display())))?;
    source.execute("vacuum into ?1", [name])?;
    let counts = look_through(&part)?;
    place(&part, target)?;
    Ok(counts)
}

/// Verifies a copy by reading all of it; returns its contents.
fn look_through(path: &Path) -> Result<Counts, StorageError> {
    let what = |detail: String| StorageError::NoBackup { place: path.display().to_string(), detail };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let copy = connection::open(path, flags, &std::sync::Arc::default()).map_err(|e| what(e.to_string()))?;
    let version = schema_version(&copy).map_err(|e| what(e.to_string()))?;
    match usize::try_from(version) {
        Ok(1..) if version <= MIGRATIONS.len() as i64 => {}
        Ok(0) | Err(_) => return Err(what("it is no archive of brotr's".into())),
        Ok(_) => return Err(StorageError::Newer(version)),
    }
    let found: String =
        copy.query_row("pragma integrity_check(1)", [], |row| row.get(0)).map_err(|e| what(e.to_string()))?;
    if found != "ok" {
        return Err(what(found));
    }
    let counts = copy
        .query_row(sqlite!("backup_counts"), [], |row| {
            Ok((Counts { events: row.get(0)?, sightings: row.get(1)?, relays: row.get(2)? }, row.get::<_, i64>(3)?))
        })
        .map_err(|e| what(e.to_string()))?;
    // Copies of older archives have no runs.
    let indexed = match version {
        RUNS_SINCE.. => runs::count(&copy).map_err(|e| what(e.to_string()))?,
        _ => counts.1,
    };
    match counts {
        (counts, there) if there != indexed => Err(what(format!(
            "it holds {there} events, its index {indexed}, and its statistics count {}",
            counts.events
        ))),
        (counts, there) if counts.events == there => Ok(counts),
        (counts, there) => Err(what(format!("it holds {there} events, and its statistics count {}", counts.events))),
    }
}

/// Copies a backup to the place of the archive, which must not exist.
pub(crate) fn restore(url: &str, copy: &Path) -> Result<Counts, StorageError> {
    let target = file(url);
    if target.exists() {
        return Err(StorageError::Occupied(target.display().to_string()));
    }
    let counts = look_through(copy)?;
    let io = |source| StorageError::Io { doing: "restore to", place: target.display().to_string(), source };
    if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_private_dir(parent).map_err(io)?;
    }
    let _lock = lock(&target)?;
    let part = unfinished(&target)?;
    // Not with the file mode of the backup.
    let mut to = open_private(&part).map_err(io)?;
    std::io::copy(&mut std::fs::File::open(copy).map_err(io)?, &mut to).map_err(io)?;
    place(&part, &target)?;
    Ok(counts)
}
