//! The archive on a PostgreSQL server, 15 or later.

mod events;

use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};

use crate::ledger::ledger;
use crate::{Archive, StorageError};

/// The advisory lock that makes writers take turns, so that events are numbered in the order they become visible.
/// The number is "brotr" in ASCII.
const WRITER_LOCK: i64 = 0x62_72_6f_74_72;

/// The archive in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresArchive {
    pool: PgPool,
    /// Writers of events take turns before they take a connection: those that wait would keep it from readers.
    turn: tokio::sync::Semaphore,
}

impl PostgresArchive {
    /// Connects to the database that `url` names and migrates its schema.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or the schema is newer than this program.
    pub async fn open(url: &str) -> Result<Self, StorageError> {
        let unreadable = |source| StorageError::Open { backend: "PostgreSQL", place: "of that url".into(), source };
        let options = PgConnectOptions::from_str(url).map_err(unreadable)?.application_name("brotr");
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
        let failed = |source| StorageError::Open { backend: "PostgreSQL", place: place.clone(), source };
        let _ = probe.map_err(failed)?.close().await;
        let pool = PoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await
            .map_err(failed)?;
        sqlx::migrate!("../migrations/postgres").run(&pool).await?;
        Ok(Self { pool, turn: tokio::sync::Semaphore::new(1) })
    }

    fn reader(&self) -> &PgPool {
        &self.pool
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StorageError> {
        Ok(self.pool.begin().await?)
    }

    async fn close_pools(&self) {
        self.pool.close().await;
    }
}

ledger!(PostgresArchive, PgConnection);

impl Archive for PostgresArchive {
    fn backend(&self) -> &'static str {
        "PostgreSQL"
    }
}
