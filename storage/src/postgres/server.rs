//! A server as it is reached: by connections of our own, or by way of a pooler such as pgbouncer, which may give each
//! transaction another connection.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;
use crate::time_limit::{place, time_limit};

/// Our statements look up what they are given: to read all of a table is never right, nor to make a hash of it, though it
/// may seem so of one that was empty when the statement was planned; and they end long before they would be compiled.
const SETTINGS: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// By this it shows whether a connection keeps what is set for it: nobody else sets it.
const OURS: (&str, &str) = ("brotr.direct", "yes");

/// A server that is there answers the first connection in this time.
const PROBE: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: u32 = 8;
/// Of them for queries of clients.
const GUESTS: usize = 4;

/// Connections to one server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pool: PgPool,
    pooled: bool,
    /// Places for queries of clients: never all connections.
    guests: Arc<Semaphore>,
}

impl Server {
    /// Connects, and finds out whether a connection keeps what is set for it. Who wants a connection later waits for it
    /// no longer than `patience`.
    pub(super) async fn connect(options: &PgConnectOptions, patience: Duration) -> Result<Self, sqlx::Error> {
        let probe = patience.min(PROBE);
        let keeps = async |options: &PgConnectOptions| {
            // Once by itself: a pool would go on trying for as long as its callers wait.
            tokio::time::timeout(probe, keeps(options)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
        };
        // Poolers refuse what they do not know, or drop it. The first of these we have no use for.
        let plain = options.clone().extra_float_digits(None).application_name("brotr");
        let ours = plain.clone().options(SETTINGS.into_iter().chain([OURS]));
        let pooled = match keeps(&ours).await {
            Ok(keeps) => !keeps,
            // Poolers refuse in words of their own; what is wrong with the database or the password is wrong either way.
            Err(sqlx::Error::Database(error)) => {
                keeps(&plain).await.map_err(|_| sqlx::Error::Database(error))?;
                true
            }
            Err(error) => return Err(error),
        };
        let connect = if pooled { plain.statement_cache_capacity(0) } else { ours };
        let pool = PoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(patience);
        Ok(Self { pool: pool.connect_lazy_with(connect), pooled, guests: Arc::new(Semaphore::new(GUESTS)) })
    }

    /// Whether a pooler is between.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// What has to be said after `begin`. What another client of the pooler left prepared may have the names that ours get.
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

    /// The same with words of SQL that say what sort of transaction it is.
    pub(super) async fn begin_as(&self, sort: &str) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        self.begin_with(format!("begin {sort}{}", self.settled())).await
    }

    async fn begin_with(&self, begin: String) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        let pool = self.pool.clone();
        let begun = async move { pool.begin_with(AssertSqlSafe(begin)).await };
        // To its end, whoever waits for it: dropped halfway, sqlx would give the connection back with a transaction in it that
        // it does not know of.
        #[expect(clippy::disallowed_methods, reason = "it ends with the pool's patience, and is awaited here")]
        let begun = tokio::spawn(begun);
        begun.await.map_err(|_| sqlx::Error::PoolClosed)?
    }

    /// For statements that need no transaction, or one each.
    pub(super) async fn reader(&self) -> Result<Reader, StorageError> {
        Ok(if self.pooled { Reader::Pooled(self.begin().await?) } else { Reader::Direct(self.pool.acquire().await?) })
    }

    /// Returns a connection for the query of a client: only to read, and within its time limit.
    pub(super) async fn reader_for_clients(&self) -> Result<Reader, StorageError> {
        let Some(longest) = time_limit() else { return self.reader().await };
        // For this transaction only: the connection may be another's next.
        let begin =
            format!("begin read only{}; set local statement_timeout = {}", self.settled(), longest.as_millis().max(1));
        let place = place(&self.guests, longest).await?;
        Ok(Reader::Bounded(self.begin_with(begin).await?, longest, place))
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A server that follows the main one, and may be away.
#[derive(Debug)]
pub(super) struct Replica {
    options: PgConnectOptions,
    server: tokio::sync::Mutex<Option<Server>>,
    away_until: std::sync::Mutex<Option<Instant>>,
}

/// Nobody waits longer for a connection to it,
const REPLICA: Duration = Duration::from_secs(1);
/// and having been in vain it is left alone for so long.
const AWAY: Duration = Duration::from_secs(10);

impl Replica {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, server: Default::default(), away_until: Default::default() }
    }

    /// Returns a connection to it, if it is there.
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

/// Whether a connection keeps what it was asked to set.
async fn keeps(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let shown = sqlx::raw_sql(AssertSqlSafe(format!("select current_setting('{}', true)", OURS.0)));
    let keeps = connection.fetch_one(shown).await?.try_get::<Option<String>, _>(0)?.as_deref() == Some(OURS.1);
    connection.close().await?;
    Ok(keeps)
}

/// A connection that reads, for as long as a query may take.
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

    /// What was found, or why not in our words.
    pub(super) fn told<T>(&self, found: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        found.map_err(|error| match (StorageError::from(error), self) {
            (error, Self::Bounded(_, longest, _)) if error.is_interrupted() => StorageError::TooLong(*longest),
            (error, _) => error,
        })
    }

    /// The same of the last statement, which is kept.
    pub(super) async fn ended<T>(self, found: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        let found = self.told(found)?;
        if let Self::Pooled(tx) = self {
            tx.commit().await?;
        }
        Ok(found)
    }
}
