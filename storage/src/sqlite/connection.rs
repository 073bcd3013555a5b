//! Connections to the file: a pool of readers, and one writer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};

use super::functions;
use crate::StorageError;
use crate::database::{Row, Transaction, Value};
use crate::options::Profile;
use crate::payload::Codec;
use crate::query::{Query, sqlite};
use crate::time_limit::time_limit;

/// Connections that read.
const READERS: usize = 8;
/// Connections that client queries may use at a time; those have a time limit.
const GUESTS: usize = 5;
/// The page cache of a connection, in KiB: the inner pages of an index of a few gigabytes.
const CACHE_KIB: u32 = 8 << 10;
/// Prepared statements cached per connection.
const STATEMENTS: usize = 64;
/// Steps of SQLite's virtual machine between two checks of the time limit: some 50 us.
const STEPS: i32 = 10_000;
/// How long a statement waits for a lock of another process: a checkpoint, or a shell.
const BUSY: Duration = Duration::from_secs(30);

/// Opens the file and registers our functions.
pub(super) fn open(path: &Path, flags: OpenFlags, codec: &Arc<Codec>) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    functions::register(&connection, codec)?;
    Ok(connection)
}

/// Writes the profile into a new archive; refuses an archive of another profile.
pub(super) fn settle_profile(connection: &Connection, profile: Profile) -> rusqlite::Result<Result<(), StorageError>> {
    connection.execute(sqlite!("archive_set_profile"), [profile.as_str()])?;
    let kept: String = connection.query_row(sqlite!("archive_profile"), [], |row| row.get(0))?;
    Ok(profile.check(&kept))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Int(n) => n.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
            Self::Texts(list) => Ok(json(list).into()),
            Self::Ints(list) => Ok(json(list).into()),
        }
    }
}

/// Returns a list as SQLite's `json_each` reads it.
fn json(list: &impl serde::Serialize) -> String {
    serde_json::to_string(list).expect("strings and numbers always serialize")
}

impl Value {
    fn of(value: ValueRef<'_>) -> rusqlite::Result<Self> {
        Ok(match value {
            ValueRef::Null => Self::Int(None),
            ValueRef::Integer(n) => Self::Int(Some(n)),
            ValueRef::Text(_) => Self::Text(Some(value.as_str()?.to_owned())),
            ValueRef::Blob(bytes) => Self::Bytes(Some(bytes.to_vec())),
            ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
        })
    }
}

/// Replaces `$1`, which both databases' statements use, by SQLite's `?1`.
fn placed(sql: &str) -> String {
    sql.replace('$', "?")
}

/// Runs a statement and returns its rows.
pub(super) fn rows(connection: &Connection, sql: &str, args: &[Value]) -> rusqlite::Result<Vec<Row>> {
    if sql.is_empty() {
        return Ok(vec![]);
    }
    let mut statement = connection.prepare_cached(&placed(sql))?;
    let columns = statement.column_count();
    let mut rows = statement.query(params_from_iter(args))?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|place| Value::of(row.get_ref(place)?)).collect::<rusqlite::Result<_>>()?;
        read.push(Row(values));
    }
    Ok(read)
}

/// The connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    /// See [`Options::paused_clock`](crate::options::Options::paused_clock).
    inline: bool,
    path: PathBuf,
    codec: Arc<Codec>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    guests: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, codec: Arc<Codec>, inline: bool) -> Self {
        Self {
            inline,
            path,
            codec,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(READERS)),
            guests: Arc::new(Semaphore::new(GUESTS)),
        }
    }

    /// Runs a read.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.read_at(self.inline, None, read).await
    }

    /// Runs a read that may block while others read its results. It is interrupted once `is_cancelled` returns true.
    pub(super) async fn stream<T: Send + 'static>(
        self: &Arc<Self>,
        is_cancelled: impl Fn() -> bool + Send + 'static,
        read: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.read_at(false, Some(Box::new(is_cancelled)), read).await
    }

    async fn read_at<T: Send + 'static>(
        self: &Arc<Self>,
        inline: bool,
        is_cancelled: Option<Box<dyn Fn() -> bool + Send>>,
        read: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let longest = time_limit();
        // Client queries never take all places: the agent's own reads do not wait behind them.
        let guest = match longest {
            None => None,
            Some(longest) => Some(crate::time_limit::place(&self.guests, longest).await?),
        };
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StorageError::Closed)?;
        let readers = self.clone();
        let run = move || {
            let _permits = (permit, guest);
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open(&readers.path, OpenFlags::SQLITE_OPEN_READ_ONLY, &readers.codec)?,
            };
            let end = longest.map(|longest| Instant::now() + longest);
            let is_limited = end.is_some() || is_cancelled.is_some();
            if is_limited {
                let is_over = move || end.is_some_and(|end| Instant::now() >= end);
                let is_cancelled = move || is_cancelled.as_ref().is_some_and(|is_cancelled| is_cancelled());
                connection.progress_handler(STEPS, Some(move || is_over() || is_cancelled()))?;
            }
            let result = read(&connection);
            if is_limited {
                connection.progress_handler(0, None::<fn() -> bool>)?;
            }
            let result = match (result, longest) {
                (Err(error), Some(longest)) if error.is_interrupted() => Err(StorageError::TooLong(longest)),
                (result, _) => result,
            };
            if !readers.permits.is_closed() {
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            result
        };
        blocking(inline, run).await
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The one connection that writes; `None` once it is closed.
#[derive(Debug, Clone)]
pub(super) struct WriterConnection {
    connection: Arc<AsyncMutex<Option<Connection>>>,
    /// Set when the writer's memory is no longer valid.
    forget: Arc<AtomicBool>,
    /// See [`Options::paused_clock`](crate::options::Options::paused_clock).
    inline: bool,
}

impl WriterConnection {
    pub(super) fn new(connection: Connection, inline: bool) -> Self {
        Self { connection: Arc::new(AsyncMutex::new(Some(connection))), forget: Arc::default(), inline }
    }

    /// Waits for writers, and closes.
    pub(super) async fn close(&self) {
        self.connection.lock().await.take();
    }

    /// Invalidates the writer's memory: events and authors are about to be changed by another task.
    pub(super) fn forget(&self) {
        self.forget.store(true, Ordering::Release);
    }

    /// Returns whether the memory was invalidated since the last call.
    pub(super) fn is_to_forget(&self) -> bool {
        self.forget.swap(false, Ordering::AcqRel)
    }

    /// Checkpoints the write-ahead log and truncates it. Waits this long for readers; if they take longer, checkpoints as much
    /// as they allow.
    pub(super) fn checkpoint(&self, wait: Duration) -> rusqlite::Result<()> {
        let guard = self.connection.blocking_lock();
        let Some(connection) = guard.as_ref() else { return Ok(()) };
        connection.busy_timeout(wait)?;
        let folded = connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()));
        connection.busy_timeout(BUSY)?;
        folded
    }

    /// Waits for the connection and begins a transaction, blocking the thread.
    pub(super) fn begin_here(&self) -> Result<SqliteTransaction, StorageError> {
        SqliteTransaction::on(self.connection.clone().blocking_lock_owned(), self.inline)
    }
}

/// Runs what may wait for the disk or for a lock of another process on the blocking pool, or `inline`, here.
async fn blocking<T: Send + 'static>(
    inline: bool,
    run: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    if inline {
        return run();
    }
    tokio::task::spawn_blocking(run).await.map_err(|_| StorageError::Closed)?
}

/// A transaction that holds the write lock from its start: a lock taken later would fail instead of waiting.
///
/// Beginning waits for locks of other processes, and a commit may checkpoint the log: both run on the blocking pool. The
/// statements in between are short and run on the caller's thread.
#[derive(Debug)]
pub(super) struct SqliteTransaction {
    connection: OwnedMutexGuard<Option<Connection>>,
    inline: bool,
}

impl SqliteTransaction {
    fn on(connection: OwnedMutexGuard<Option<Connection>>, inline: bool) -> Result<Self, StorageError> {
        let this = Self { connection, inline };
        this.connection()?.execute_batch("begin immediate")?;
        Ok(this)
    }

    pub(super) async fn begin(writer: &WriterConnection) -> Result<Self, StorageError> {
        let guard = writer.connection.clone().lock_owned().await;
        let inline = writer.inline;
        blocking(inline, move || Self::on(guard, inline)).await
    }

    pub(super) fn connection(&self) -> Result<&Connection, StorageError> {
        self.connection.as_ref().ok_or(StorageError::Closed)
    }

    pub(super) fn commit_here(self) -> Result<(), StorageError> {
        self.commit_then(|| ())
    }

    /// Commits, and runs `then` before anybody else can write, also if the commit failed.
    pub(super) fn commit_then(self, then: impl FnOnce()) -> Result<(), StorageError> {
        let committed = self.connection()?.execute_batch("commit");
        then();
        Ok(committed?)
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.as_ref()
            && !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("rollback")
        {
            tracing::error!(%error, "failed to roll back");
        }
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn execute(&mut self, query: Query, args: Vec<Value>) -> Result<u64, StorageError> {
        let connection = self.connection()?;
        if query.sqlite.is_empty() {
            return Ok(0);
        }
        Ok(connection.prepare_cached(&placed(query.sqlite))?.execute(params_from_iter(&args))? as u64)
    }

    async fn rows(&mut self, query: Query, args: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        let connection = self.connection()?;
        Ok(rows(connection, query.sqlite, &args)?)
    }

    async fn commit(self: Box<Self>) -> Result<(), StorageError> {
        blocking(self.inline, || self.commit_here()).await
    }
}
