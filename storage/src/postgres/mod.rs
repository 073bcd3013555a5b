//! The archive on a PostgreSQL server, 15 or later.

mod backup;
mod events;
mod scan;
mod store;

use std::collections::VecDeque;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Column, Connection, Executor, PgConnection, PgPool, Postgres, Row as _, TypeInfo, ValueRef};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::archive::{Options, SqlRow};
use crate::backup::Counts;
use crate::database::{Database, Row, Transaction, Value};
use crate::longest::longest;
use crate::prepare::PreparedBatch;
use crate::rows::Stored;
use crate::select::Dialect;
use crate::{Archive, StorageError};

/// The advisory lock that makes writers take turns, so that what is stored is numbered in the order it becomes
/// visible. The number is "brotr" in ASCII.
const WRITER_LOCK: i64 = 0x62_72_6f_74_72;

/// Looks that somebody else asked for, at a time.
const GUESTS: usize = 4;

pub(crate) use backup::restore;

/// The archive in a PostgreSQL database.
pub struct PostgresArchive {
    url: String,
    pool: PgPool,
    options: Options,
    /// Writers of events take turns before they take a connection: those that wait would keep it from readers.
    turn: tokio::sync::Semaphore,
    /// How many events this process has stored,
    fresh: AtomicI64,
    /// and how many of them when it last asked for the planner's statistics.
    analyzed: AtomicI64,
    /// Places for looks that somebody else asked for: never all connections.
    guests: Arc<tokio::sync::Semaphore>,
    /// What waits to be written, with whom to tell.
    queue: std::sync::Mutex<VecDeque<Waiting>>,
}

type Waiting = (Arc<PreparedBatch>, tokio::sync::oneshot::Sender<Result<Stored, StorageError>>);

impl std::fmt::Debug for PostgresArchive {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresArchive").field("options", &self.options).finish_non_exhaustive()
    }
}

impl PostgresArchive {
    /// Connects to the database that `url` names and migrates its schema.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or the schema is newer than this program.
    pub async fn open(url: &str, archive: Options) -> Result<Self, StorageError> {
        let this = Self::open_to_read(url, archive).await?;
        this.settle_search(archive.search).await?;
        Ok(Self { options: archive, ..this })
    }

    /// The same, leaving the full-text index as it is.
    ///
    /// # Errors
    /// As [`PostgresArchive::open`].
    pub async fn open_to_read(url: &str, archive: Options) -> Result<Self, StorageError> {
        let open = |place: String| {
            move |source: sqlx::Error| StorageError::Open { backend: "PostgreSQL", place, source: source.into() }
        };
        let options = PgConnectOptions::from_str(url).map_err(open("of that url".into()))?.application_name("brotr");
        let place = format!(
            "{} at {}:{}",
            options.get_database().unwrap_or("(default)"),
            options.get_host(),
            options.get_port()
        );
        // Once by itself: a pool would go on trying for as long as its callers wait.
        let probe = PgConnection::connect_with(&options);
        let probe =
            tokio::time::timeout(Duration::from_secs(10), probe).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let _ = probe.map_err(open(place.clone()))?.close().await;
        let pool = PoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(30))
            // Our statements look up what they are given: to read all of a table is never right, nor to make a hash of it,
            // though it may seem so of one that was empty when the statement was planned; and they end long before they
            // would be compiled.
            .after_connect(|connection: &mut PgConnection, _| {
                Box::pin(async move {
                    connection
                        .execute(
                            "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off",
                        )
                        .await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(open(place))?;
        sqlx::migrate!("../migrations/postgres").run(&pool).await?;
        sqlx::query("update archive set profile = $1 where profile is null")
            .bind(archive.profile.as_str())
            .execute(&pool)
            .await?;
        let (kept, search): (String, i32) =
            sqlx::query_as("select profile, search from archive").fetch_one(&pool).await?;
        archive.profile.check(&kept)?;
        Ok(Self {
            url: url.to_owned(),
            pool,
            options: Options { search: search == 1, ..archive },
            turn: tokio::sync::Semaphore::new(1),
            fresh: AtomicI64::new(0),
            analyzed: AtomicI64::new(0),
            guests: Arc::new(tokio::sync::Semaphore::new(GUESTS)),
            queue: Default::default(),
        })
    }
}

/// A connection to look with, for as long as a look may take.
enum Look {
    Any(PoolConnection<Postgres>),
    Bounded(
        sqlx::Transaction<'static, Postgres>,
        Duration,
        #[expect(dead_code, reason = "held as long as the look")] OwnedSemaphorePermit,
    ),
}

impl Look {
    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Any(connection) => connection,
            Self::Bounded(tx, ..) => tx,
        }
    }

    /// What became of it, in our words.
    fn ended<T>(&self, found: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        found.map_err(|error| match (StorageError::from(error), self) {
            (error, Self::Bounded(_, longest, _)) if error.is_interrupted() => StorageError::TooLong(*longest),
            (error, _) => error,
        })
    }
}

impl PostgresArchive {
    async fn look(&self) -> Result<Look, StorageError> {
        let Some(longest) = longest() else { return Ok(Look::Any(self.pool.acquire().await?)) };
        // For this transaction only: the connection may be another's next, by way of the pool or of a bouncer.
        let begin = format!("begin read only; set local statement_timeout = {}", longest.as_millis().max(1));
        let place = crate::longest::place(&self.guests, longest).await?;
        Ok(Look::Bounded(self.pool.begin_with(AssertSqlSafe(begin)).await?, longest, place))
    }
}

fn bind(mut query: Query<'_, Postgres, PgArguments>, args: Vec<Value>) -> Query<'_, Postgres, PgArguments> {
    for arg in args {
        query = match arg {
            Value::Int(n) => query.bind(n),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        };
    }
    query
}

fn row(row: &PgRow) -> Result<Row, StorageError> {
    let value = |place: usize| {
        Ok(match row.column(place).type_info().name() {
            "INT8" => Value::Int(row.try_get(place)?),
            "INT4" => Value::Int(row.try_get::<Option<i32>, _>(place)?.map(i64::from)),
            "BYTEA" => Value::Bytes(row.try_get(place)?),
            _ => Value::Text(row.try_get(place)?),
        })
    };
    Ok(Row((0..row.len()).map(value).collect::<Result<_, sqlx::Error>>()?))
}

struct PostgresTransaction(sqlx::Transaction<'static, Postgres>);

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, StorageError> {
        Ok(bind(sqlx::query(sql), args).execute(&mut *self.0).await?.rows_affected())
    }

    async fn rows(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        bind(sqlx::query(sql), args).fetch_all(&mut *self.0).await?.iter().map(row).collect()
    }

    async fn commit(self: Box<Self>) -> Result<(), StorageError> {
        Ok(self.0.commit().await?)
    }
}

#[async_trait]
impl Database for PostgresArchive {
    async fn rows(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        bind(sqlx::query(sql), args).fetch_all(&self.pool).await?.iter().map(row).collect()
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StorageError> {
        Ok(Box::new(PostgresTransaction(self.pool.begin().await?)))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn shut(&self) {
        self.pool.close().await;
    }
}

/// What simple statements give is text; numbers are made numbers again.
fn shown(row: &PgRow, place: usize) -> Result<serde_json::Value, sqlx::Error> {
    let raw = row.try_get_raw(place)?;
    if raw.is_null() {
        return Ok(serde_json::Value::Null);
    }
    let name = raw.type_info().name().to_owned();
    let text = raw.as_str().map_err(sqlx::Error::Decode)?;
    Ok(match name.as_str() {
        "INT2" | "INT4" | "INT8" => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
        "BOOL" => (text == "t").into(),
        "BYTEA" => text.strip_prefix("\\x").unwrap_or(text).into(),
        _ => text.into(),
    })
}

#[async_trait]
impl Archive for PostgresArchive {
    async fn backup(&self, target: &Path) -> Result<Counts, StorageError> {
        self.dump(target).await
    }

    async fn sql(&self, statement: &str, rows: mpsc::Sender<SqlRow>) -> Result<(), StorageError> {
        let mut tx = self.pool.begin().await?;
        sqlx::raw_sql(
            "set transaction read only; set local enable_seqscan = on; set local enable_hashjoin = on; \
             set local enable_mergejoin = on; set local jit = on",
        )
        .execute(&mut *tx)
        .await?;
        let mut found = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch(&mut *tx);
        let mut named = false;
        while let Some(row) = found.try_next().await? {
            if !named {
                let _ = rows.send(row.columns().iter().map(|column| column.name().into()).collect()).await;
                named = true;
            }
            let row = (0..row.len()).map(|place| shown(&row, place)).collect::<Result<SqlRow, _>>()?;
            if rows.send(row).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn backend(&self) -> &'static str {
        "PostgreSQL"
    }
}
