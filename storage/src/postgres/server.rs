//! Connections to a server, directly or through a pooler such as pgbouncer, which may use another server connection for each
//! transaction.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;
use crate::time_limit::{place, time_limit};

/// Our statements look up rows by key: a sequential scan or a hash join is never right, though it may look so for a table that
/// was empty when the statement was planned; and they end long before compiling them would pay.
const SETTINGS: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// Shows whether a connection keeps its session settings: nobody else sets it.
const OURS: (&str, &str) = ("brotr.direct", "yes");

/// Time limit of the first connection.
const PROBE: Duration = Duration::from_secs(10);
/// Concurrent connections,
const CONNECTIONS: u32 = 8;
/// and those of them that client queries may use.
const GUESTS: usize = 4;

/// Connections to one server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pool: PgPool,
    pooled: bool,
    /// Permits for client queries: never all connections.
    guests: Arc<Semaphore>,
}

impl Server {
    /// Connects, and finds out whether a connection keeps session settings. `timeout` is the time limit for acquiring a
    /// connection later.
    pub(super) async fn connect(options: &PgConnectOptions, timeout: Duration) -> Result<Self, sqlx::Error> {
        let probe = timeout.min(PROBE);
        let keeps = async |options: &PgConnectOptions| {
            // One attempt: a pool would retry for as long as its callers wait.
            tokio::time::timeout(probe, keeps(options)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
        };
        // Poolers refuse or drop parameters that they do not know. We do not need the first of these.
        let plain = options.clone().extra_float_digits(None).application_name("brotr");
        let ours = plain.clone().options(SETTINGS.into_iter().chain([OURS]));
        let pooled = match keeps(&ours).await {
            Ok(keeps) => !keeps,
            // Poolers refuse with their own errors; a wrong database or password fails either way.
            Err(sqlx::Error::Database(error)) => {
                keeps(&plain).await.map_err(|_| sqlx::Error::Database(error))?;
                true
            }
            Err(error) => return Err(error),
        };
        let connect = if pooled { plain.statement_cache_capacity(0) } else { ours };
        let pool = PoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(timeout);
        Ok(Self { pool: pool.connect_lazy_with(connect), pooled, guests: Arc::new(Semaphore::new(GUESTS)) })
    }

    /// Returns true if there is a pooler in between.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Returns the statements that follow `begin`. Statements left prepared by another client of the pooler may have the names
    /// of ours.
    fn settled(&self) -> String {
        if !self.pooled {
            return String::new();
        }
        let settings = SETTINGS.map(|(name, value)| format!("; set local {name} = {value}"));
        format!("; deallocate all{}", settings.concat())
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        self.begin_as("").await
    }

    /// Begins a transaction of a kind: `sort` follows `begin`.
    pub(super) async fn begin_as(&self, sort: &str) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        self.begin_with(format!("begin {sort}{}", self.settled())).await
    }

    async fn begin_with(&self, begin: String) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        let pool = self.pool.clone();
        let begun = async move { pool.begin_with(AssertSqlSafe(begin)).await };
        // Runs to completion even if its caller is cancelled: dropped halfway, sqlx would return the connection with an open
        // transaction that it does not know of.
        #[expect(clippy::disallowed_methods, reason = "it ends with the pool's timeout, and is awaited here")]
        let begun = tokio::spawn(begun);
        begun.await.map_err(|_| sqlx::Error::PoolClosed)?
    }

    /// Returns a connection for statements outside of a transaction.
    pub(super) async fn reader(&self) -> Result<Reader, StorageError> {
        Ok(if self.pooled { Reader::Pooled(self.begin().await?) } else { Reader::Direct(self.pool.acquire().await?) })
    }

    /// Returns a read-only connection for a client query, within its time limit.
    pub(super) async fn reader_for_clients(&self) -> Result<Reader, StorageError> {
        let Some(longest) = time_limit() else { return self.reader().await };
        // For this transaction only: the connection may serve somebody else next.
        let begin =
            format!("begin read only{}; set local statement_timeout = {}", self.settled(), longest.as_millis().max(1));
        let place = place(&self.guests, longest).await?;
        Ok(Reader::Bounded(self.begin_with(begin).await?, longest, place))
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A replica, which may be away.
#[derive(Debug)]
pub(super) struct Replica {
    options: PgConnectOptions,
    server: tokio::sync::Mutex<Option<Server>>,
    away_until: std::sync::Mutex<Option<Instant>>,
}

/// Time limit for acquiring a connection to it,
const REPLICA: Duration = Duration::from_secs(1);
/// and how long it is not tried again after a failure.
const AWAY: Duration = Duration::from_secs(10);

impl Replica {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, server: Default::default(), away_until: Default::default() }
    }

    /// Returns a connection to it, if it can be reached.
    pub(super) async fn reader_for_clients(&self) -> Result<Option<Reader>, StorageError> {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| until > Instant::now()) {
            return Ok(None);
        }
        let reader = async { self.connected().await?.reader_for_clients().await };
        match reader.await {
            Ok(reader) => Ok(Some(reader)),
            Err(error @ StorageError::TooLong(_)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "failed to reach the server of storage.read_url: the main one answers instead");
                *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
                Ok(None)
            }
        }
    }

    async fn connected(&self) -> Result<Server, StorageError> {
        let mut place = self.server.lock().await;
        Ok(match &*place {
            Some(server) => server.clone(),
            None => place.insert(Server::connect(&self.options, REPLICA).await?).clone(),
        })
    }

    pub(super) async fn close(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.close().await;
        }
    }
}

/// Returns true if a connection keeps its session settings.
async fn keeps(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let shown = sqlx::raw_sql(AssertSqlSafe(format!("select current_setting('{}', true)", OURS.0)));
    let keeps = connection.fetch_one(shown).await?.try_get::<Option<String>, _>(0)?.as_deref() == Some(OURS.1);
    connection.close().await?;
    Ok(keeps)
}

/// A connection for reading, for as long as the query may take.
pub(super) enum Reader {
    Direct(PoolConnection<Postgres>),
    /// A pooler lends a connection for a transaction.
    Pooled(sqlx::Transaction<'static, Postgres>),
    Bounded(
        sqlx::Transaction<'static, Postgres>,
        Duration,
        #[expect(dead_code, reason = "held as long as the query")] OwnedSemaphorePermit,
    ),
}

impl Reader {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Direct(connection) => connection,
            Self::Pooled(tx) | Self::Bounded(tx, ..) => tx,
        }
    }

    /// Converts the error of a statement.
    pub(super) fn checked<T>(&self, found: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        found.map_err(|error| match (StorageError::from(error), self) {
            (error, Self::Bounded(_, longest, _)) if error.is_interrupted() => StorageError::TooLong(*longest),
            (error, _) => error,
        })
    }

    /// The same for the last statement, after which the transaction is committed.
    pub(super) async fn ended<T>(self, found: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        let found = self.checked(found)?;
        if let Self::Pooled(tx) = self {
            tx.commit().await?;
        }
        Ok(found)
    }
}
