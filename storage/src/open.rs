//! Opens archives by URL.

use std::path::Path;
use std::sync::Arc;

use crate::retrying::Retrying;
use crate::{Archive, Counts, Options, PostgresArchive, SqliteArchive, StorageError, postgres, sqlite};

/// Opens the archive at `url`, creating and migrating its schema.
///
/// `url` is `sqlite://PATH` or `postgres://...`.
///
/// # Errors
/// Fails if the scheme is neither, the database cannot be reached, its schema is newer than this program, it has another
/// profile, or another process has the SQLite file open for writing.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Archive>, StorageError> {
    Ok(match backend(url)? {
        Backend::Sqlite => Arc::new(Retrying::new(SqliteArchive::open(url, options).await?, options)),
        Backend::Postgres => Arc::new(Retrying::new(PostgresArchive::open(url, options).await?, options)),
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
            Ok(Arc::new(Retrying::new(archive.reading_from(read_url)?, options)))
        }
    }
}

/// Opens an existing archive read-only, beside the process that writes to it.
///
/// # Errors
/// As [`open`], and if the archive does not exist or its schema is older than this program's.
pub async fn open_to_read(url: &str, options: Options) -> Result<Arc<dyn Archive>, StorageError> {
    Ok(match backend(url)? {
        Backend::Sqlite => Arc::new(Retrying::new(SqliteArchive::open_to_read(url).await?, options)),
        Backend::Postgres => Arc::new(Retrying::new(PostgresArchive::open_to_read(url, options).await?, options)),
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
