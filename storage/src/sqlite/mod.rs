//! The embedded archive: one file, one writer, concurrent readers.

mod authors;
mod backup;
mod connection;
mod count;
mod events;
mod functions;
mod group;
mod hints;
mod memory;
mod remove;
mod runs;
mod scan;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};

use crate::archive::{Setting, SqlRow};
use crate::database::{Database, Row, Transaction, Value};
use crate::files::{create_private_dir, open_private, tighten};
use crate::new_events::Announcer;
use crate::options::Options;
use crate::payload::Codec;
use crate::query::{Query, sqlite};
use crate::rows::Counts;
use crate::{Archive, StorageError, search};
use connection::{Readers, SqliteTransaction, WriterConnection};
use hints::Hints;
use runs::Runs;

/// The schema's migrations, in order; the file's `user_version` is the number of those applied.
const MIGRATIONS: [&str; 11] = [
    include_str!("../../../migrations/sqlite/0001_archive.sql"),
    include_str!("../../../migrations/sqlite/0002_lost.sql"),
    include_str!("../../../migrations/sqlite/0003_visits.sql"),
    include_str!("../../../migrations/sqlite/0004_answers.sql"),
    include_str!("../../../migrations/sqlite/0005_payments.sql"),
    include_str!("../../../migrations/sqlite/0006_leases.sql"),
    include_str!("../../../migrations/sqlite/0007_uptime_and_terms.sql"),
    include_str!("../../../migrations/sqlite/0008_runs.sql"),
    include_str!("../../../migrations/sqlite/0009_research.sql"),
    include_str!("../../../migrations/sqlite/0010_totals.sql"),
    include_str!("../../../migrations/sqlite/0011_retention.sql"),
];
/// Twice SQLite's default: half as many pages are written for the same events.
const PAGE_SIZE: u32 = 8192;
/// The writer's page cache, in KiB.
const WRITER_CACHE_KIB: u32 = 64 << 10;
/// Pages of the write-ahead log at which SQLite checkpoints it: 128 MiB.
const CHECKPOINT_PAGES: u32 = 16_384;

/// The size to which the write-ahead log's file is truncated when it starts over, in bytes.
const LOG_KEPT: u64 = 64 << 20;

pub(crate) use backup::restore;

/// The archive in one SQLite file.
#[derive(Debug)]
pub struct SqliteArchive {
    codec: Arc<Codec>,
    options: Options,
    readers: Arc<Readers>,
    runs: Arc<Runs>,
    hints: Arc<Hints>,
    announcer: Arc<Announcer>,
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    connection: WriterConnection,
    queue: writer::Queue,
    /// Held as long as this process may write.
    lock: std::sync::Mutex<Option<Lock>>,
}

fn failed(path: &Path) -> impl FnOnce(rusqlite::Error) -> StorageError {
    let place = path.display().to_string();
    move |source| StorageError::Open { backend: "SQLite", place, source: source.into() }
}

/// Returns the file of a `sqlite:` URL.
fn file(url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    PathBuf::from(path.split_once('?').map_or(path, |(path, _)| path))
}

/// Returns the file beside the archive whose name ends in `suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl SqliteArchive {
    /// Opens the file at `url`, creating it and its directory, and migrates its schema.
    ///
    /// # Errors
    /// Fails if the file cannot be created or read, is not a SQLite database, is newer than this program, or another process
    /// has it open for writing.
    pub async fn open(url: &str, options: Options) -> Result<Self, StorageError> {
        let path = file(url);
        tokio::task::spawn_blocking(move || Self::open_file(path, options)).await.expect("opening does not panic")
    }

    /// Opens an existing file read-only, beside the process that writes to it.
    ///
    /// # Errors
    /// Fails if the file does not exist or has another schema than this program's.
    pub async fn open_to_read(url: &str) -> Result<Self, StorageError> {
        let path = file(url);
        let open = move || {
            let codec = Arc::new(Codec::default());
            let connection =
                connection::open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, &codec).map_err(failed(&path))?;
            let version = schema_version(&connection).map_err(failed(&path))?;
            match usize::try_from(version).ok().map(|version| version.cmp(&MIGRATIONS.len())) {
                Some(std::cmp::Ordering::Equal) => {}
                Some(std::cmp::Ordering::Less) => return Err(StorageError::Older(version)),
                _ => return Err(StorageError::Newer(version)),
            }
            if !runs::is_settled(&connection).map_err(failed(&path))? {
                return Err(StorageError::Older(version - 1));
            }
            load_dictionaries(&connection, &codec).map_err(failed(&path))?;
            let (profile, search): (Option<String>, i32) = connection
                .query_row(sqlite!("archive_options"), [], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(failed(&path))?;
            let search = search == search::VERSION;
            let options =
                Options { profile: profile.as_deref().unwrap_or_default().parse()?, search, ..Options::default() };
            let readers = Arc::new(Readers::new(path, codec.clone(), false));
            Ok(Self {
                codec,
                options,
                readers,
                runs: Arc::default(),
                hints: Arc::default(),
                announcer: Arc::default(),
                writer: None,
            })
        };
        tokio::task::spawn_blocking(open).await.expect("opening does not panic")
    }

    fn open_file(path: PathBuf, options: Options) -> Result<Self, StorageError> {
        let io = |source| StorageError::Io { doing: "open", place: path.display().to_string(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            create_private_dir(parent).map_err(io)?;
        }
        let lock = lock(&path)?;
        // SQLite gives the files beside it the mode of this one.
        open_private(&path).map_err(io)?;
        let log = beside(&path, "-wal");
        tighten(&log);
        tighten(&beside(&path, "-shm"));
        let codec = Arc::new(Codec::default());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connection::open(&path, flags, &codec).map_err(failed(&path))?;
        connection
            .execute_batch(&format!(
                // With WAL a killed process loses nothing; a power failure may lose the last transactions, never the file.
                "pragma page_size = {PAGE_SIZE}; pragma journal_mode = wal; pragma synchronous = normal; \
                 pragma cache_size = -{WRITER_CACHE_KIB}; pragma wal_autocheckpoint = {CHECKPOINT_PAGES}; \
                 pragma journal_size_limit = {LOG_KEPT};"
            ))
            .map_err(failed(&path))?;
        migrate(&mut connection, &path)?;
        runs::settle(&mut connection)?;
        connection::settle_profile(&connection, options.profile).map_err(failed(&path))??;
        // This is the only writer: the owners of all leases have died.
        let free = sqlite!("lease_release_all");
        connection.execute_batch(free).map_err(failed(&path))?;
        load_dictionaries(&connection, &codec).map_err(failed(&path))?;
        events::settle_search(&mut connection, options, &codec)?;
        let readers = Arc::new(Readers::new(path, codec.clone(), options.paused_clock));
        let connection = WriterConnection::new(connection, options.paused_clock);
        let runs = Arc::<Runs>::default();
        let hints = Arc::<Hints>::default();
        let announcer = Arc::<Announcer>::default();
        let shared = writer::Shared {
            codec: codec.clone(),
            runs: runs.clone(),
            hints: hints.clone(),
            announcer: announcer.clone(),
        };
        let queue = writer::Queue::start(connection.clone(), shared, options, log);
        let writer = Writer { connection, queue, lock: std::sync::Mutex::new(Some(lock)) };
        Ok(Self { codec, options, readers, runs, hints, announcer, writer: Some(writer) })
    }

    fn writer(&self) -> Result<&Writer, StorageError> {
        self.writer.as_ref().ok_or(StorageError::ReadOnly)
    }
}

/// The lock that lets one process write, until it is dropped or the process ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // A forked child that has not called exec yet has the file open too: closing ours would not unlock it.
        let _ = self.0.unlock();
    }
}

/// Takes the lock that lets one process write: SQLite itself would let two alternate, each with a stale cache.
fn lock(path: &Path) -> Result<Lock, StorageError> {
    let place = path.display().to_string();
    let io = |source| StorageError::Io { doing: "lock", place: place.clone(), source };
    let file = open_private(&beside(path, ".lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Locked(place)),
        Err(std::fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("pragma user_version", [], |row| row.get(0))
}

/// Migrates the schema, each migration in a transaction of its own.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let version = schema_version(connection).map_err(failed(path))?;
    let done = usize::try_from(version).ok().filter(|done| *done <= MIGRATIONS.len());
    let done = done.ok_or(StorageError::Newer(version))?;
    for (n, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let run = |connection: &mut Connection| {
            let tx = connection.transaction()?;
            tx.execute_batch(migration)?;
            tx.pragma_update(None, "user_version", n + 1)?;
            tx.commit()
        };
        run(connection).map_err(|source| StorageError::Migrate(Box::new(source)))?;
    }
    Ok(())
}

/// Loads the dictionaries that this process does not have yet.
fn load_dictionaries(connection: &Connection, codec: &Codec) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sqlite!("dictionary_list"))?;
    let rows = statement.query_map([codec.dictionaries()], |row| row.get::<_, Vec<u8>>(0))?;
    for data in rows.collect::<Result<Vec<_>, _>>()? {
        codec.add_dictionary(&data);
    }
    Ok(())
}

#[async_trait]
impl Database for SqliteArchive {
    async fn rows(&self, query: Query, args: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        self.readers.read(move |connection| Ok(connection::rows(connection, query.sqlite, &args)?)).await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StorageError> {
        Ok(Box::new(SqliteTransaction::begin(&self.writer()?.connection).await?))
    }

    async fn shut(&self) {
        if let Some(writer) = &self.writer {
            writer.queue.end().await;
            // The last connection to close checkpoints the log, which a reader cannot.
            self.readers.close();
            writer.connection.close().await;
            writer.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        }
        self.readers.close();
    }
}

#[async_trait]
impl Archive for SqliteArchive {
    async fn backup(&self, target: &Path) -> Result<Counts, StorageError> {
        let target = target.to_owned();
        self.readers.read(move |connection| backup::write(connection, &target)).await
    }

    async fn sql(&self, statement: &str, rows: tokio::sync::mpsc::Sender<SqlRow>) -> Result<(), StorageError> {
        let statement = statement.to_owned();
        let receiver = rows.clone();
        let is_cancelled = move || receiver.is_closed();
        self.readers.stream(is_cancelled, move |connection| functions::run(connection, &statement, &rows)).await
    }

    async fn costly_settings(&self) -> Result<Vec<Setting>, StorageError> {
        Ok(vec![])
    }

    async fn close(&self) {
        self.shut().await;
    }

    fn backend(&self) -> &'static str {
        "SQLite"
    }
}

#[cfg(test)]
mod tests {
    use super::lock;

    #[test]
    fn the_lock_is_released_although_a_child_has_the_file_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("brotr.db");
        let taken = lock(&path).expect("locked");
        let inherited = taken.0.try_clone().expect("duplicated, as fork does");
        assert!(lock(&path).is_err(), "one holds it");
        drop(taken);
        lock(&path).expect("locked again");
        drop(inherited);
    }
}
