//! The archive: events exactly as they were signed, which relays hold each of them, which spans of time are proven complete,
//! and what is known of the relays.
//!
//! One trait, [`Archive`], and two backends: SQLite (embedded, the default) and PostgreSQL. This crate opens no network
//! connection other than the one to its own database.

mod archive;
mod backoff;
mod backup;
mod batch;
mod database;
mod decode;
mod error;
mod files;
mod nostr_database;
mod options;
mod payload;
mod postgres;
mod prepare;
mod query;
mod retrying;
mod rows;
mod search;
mod select;
mod sqlite;
mod stores;
mod tag_key;
mod time_limit;
mod varint;
mod view;

use std::path::Path;
use std::sync::Arc;

pub use archive::{Archive, EventStore, Setting, SightingStore, SqlRow};
pub use backup::Counts;
pub use batch::{Batch, Stored};
pub use error::StorageError;
pub use nostr_database::NostrArchive;
pub use options::{Options, Profile};
pub use postgres::PostgresArchive;
pub use prepare::{Prepared, Preparer};
pub use rows::*;
pub use search::{EventTerms, Search, search_matches};
pub use sqlite::SqliteArchive;
pub use stores::{CheckStore, CoverageStore, JobStore, LeaseStore, OutboxStore, PaymentStore, RelayStore, StateStore};
pub use time_limit::with_time_limit;
pub use view::View;

use retrying::Retrying;

/// Opens the archive at `url`, creating and migrating its schema.
///
/// `url` is `sqlite://PATH` or `postgres://...`.
///
/// # Errors
/// Fails if the scheme is neither, the database cannot be reached, its schema is newer than this program, it has another
/// profile, or another process has the SQLite file open for writing.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Archive>, StorageError> {
    Ok(match backend(url)? {
        Backend::Sqlite => Arc::new(Retrying(SqliteArchive::open(url, options).await?)),
        Backend::Postgres => Arc::new(Retrying(PostgresArchive::open(url, options).await?)),
    })
}

/// Opens an archive on PostgreSQL whose client queries are answered by a replica.
///
/// # Errors
/// As [`open`]; the replica may be away.
pub async fn open_with_replica(url: &str, read_url: &str, options: Options) -> Result<Arc<dyn Archive>, StorageError> {
    match backend(url)? {
        Backend::Sqlite => Err(StorageError::Scheme),
        Backend::Postgres => {
            let archive = PostgresArchive::open(url, options).await?;
            Ok(Arc::new(Retrying(archive.reading_from(read_url)?)))
        }
    }
}

/// Opens an existing archive read-only, beside the process that writes to it.
///
/// # Errors
/// As [`open`], and if the archive does not exist or its schema is older than this program's.
pub async fn open_to_read(url: &str, options: Options) -> Result<Arc<dyn Archive>, StorageError> {
    Ok(match backend(url)? {
        Backend::Sqlite => Arc::new(Retrying(SqliteArchive::open_to_read(url).await?)),
        Backend::Postgres => Arc::new(Retrying(PostgresArchive::open_to_read(url, options).await?)),
    })
}

/// Creates the archive at `url` from a backup of the same backend. Nothing may exist there.
///
/// # Errors
/// Fails if something exists there, or the file is not a complete backup.
pub async fn restore(url: &str, backup: &Path) -> Result<Counts, StorageError> {
    match backend(url)? {
        Backend::Sqlite => {
            let (url, backup) = (url.to_owned(), backup.to_owned());
            let restore = move || sqlite::restore(&url, &backup);
            tokio::task::spawn_blocking(restore).await.map_err(|_| StorageError::Closed)?
        }
        Backend::Postgres => postgres::restore(url, backup).await,
    }
}

enum Backend {
    Sqlite,
    Postgres,
}

fn backend(url: &str) -> Result<Backend, StorageError> {
    if url.starts_with("sqlite:") {
        Ok(Backend::Sqlite)
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        Ok(Backend::Postgres)
    } else {
        Err(StorageError::Scheme)
    }
}
