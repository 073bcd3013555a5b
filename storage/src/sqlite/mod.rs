//! The embedded archive: one file, one writer connection, as many readers as there are askers.

mod events;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::ledger::ledger;
use crate::{Archive, StorageError};

/// How often migrating is tried again, and after how long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// The archive in one SQLite file.
#[derive(Debug)]
pub struct SqliteArchive {
    reader: SqlitePool,
    writer: SqlitePool,
}

impl SqliteArchive {
    /// Opens the file that `url` names, creating it and its directory, and migrates its schema.
    ///
    /// # Errors
    /// When the file cannot be made or read, is no SQLite database, or is newer than this program.
    pub async fn open(url: &str) -> Result<Self, StorageError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|source| StorageError::Open { backend: "SQLite", place: url.to_owned(), source })?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL a killed process loses nothing; a power cut may take the last transactions, never the file.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(30))
            .foreign_keys(true);
        let path = options.get_filename().to_owned();
        let failed = |source| StorageError::Open { backend: "SQLite", place: path.display().to_string(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|e| failed(sqlx::Error::Io(e)))?;
        }
        let writer = PoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(60))
            // 64 MiB: the b-trees that events are spread over should not be read back for each batch.
            .connect_with(options.clone().pragma("cache_size", "-65536"))
            .await
            .map_err(failed)?;
        migrate(&writer).await?;
        let reader = PoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(60))
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(failed)?;
        Ok(Self { reader, writer })
    }

    fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// A transaction that holds the write lock from its start: a lock taken later would not wait for another
    /// process but fail.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StorageError> {
        Ok(self.writer.begin_with("begin immediate").await?)
    }

    async fn close_pools(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Brings the schema up to date. SQLite has no lock for the whole of it, so of two programs that start on a new file one
/// may find a table made by the other; looking again, it finds the migration done.
async fn migrate(writer: &SqlitePool) -> Result<(), StorageError> {
    let migrator = sqlx::migrate!("../migrations/sqlite");
    for _ in 0..TRIES {
        match migrator.run(writer).await {
            Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)) => tokio::time::sleep(PAUSE).await,
            ended => return Ok(ended?),
        }
    }
    Ok(migrator.run(writer).await?)
}

ledger!(SqliteArchive, SqliteConnection);

impl Archive for SqliteArchive {
    fn backend(&self) -> &'static str {
        "SQLite"
    }
}
