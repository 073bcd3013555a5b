//! The archive on a PostgreSQL server, 15 or later.

mod backup;
mod distributed;
mod events;
mod holders;
mod key;
mod lock;
mod remove;
mod scan;
mod server;
mod sightings;
mod store;

use std::collections::VecDeque;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Column, Executor, Postgres, Row as _, SqlSafeStr, TypeInfo, ValueRef};
use tokio::sync::mpsc;

use self::server::{Reader, Replica, Server};
use crate::archive::{Setting, SqlRow};
use crate::batch::{PreparedBatch, Stored};
use crate::database::{Database, Row, Transaction, Value};
use crate::error::of_commit;
use crate::new_events::Announcer;
use crate::options::{Options, Profile};
use crate::query::{Query, postgres, postgres_only};
use crate::rows::Counts;
use crate::time_limit::time_limit;
use crate::{Archive, StorageError, search};

/// Returns the name and the text of a file in `migrations/postgres/`.
macro_rules! migration {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../migrations/postgres/", $name, ".sql")))
    };
}
/// The schema's migrations, in order; those applied are in the table `_sqlx_migrations`.
const MIGRATIONS: [(&str, &str); 11] = [
    migration!("0001_archive"),
    migration!("0002_lost"),
    migration!("0003_visits"),
    migration!("0004_answers"),
    migration!("0005_payments"),
    migration!("0006_leases"),
    migration!("0007_uptime_and_terms"),
    migration!("0008_spans"),
    migration!("0009_research"),
    migration!("0010_hidden_totals"),
    migration!("0011_retention"),
];
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = MIGRATIONS.into_iter().zip(1..).map(|((name, text), version)| {
        let description = name.trim_start_matches(|c: char| !c.is_alphabetic()).replace('_', " ");
        Migration::new(version, description.into(), MigrationType::Simple, text.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_locking(false);
    migrator
});

/// Transactions that write events at a time: while one has the writers' lock, the next writes its rows of events.
const WRITERS: usize = 2;
/// How long a caller waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) use backup::restore;

/// The archive in a PostgreSQL database.
pub struct PostgresArchive {
    url: String,
    server: Server,
    /// Whether it is distributed over several servers.
    distributed: bool,
    /// A replica that answers client queries.
    replica: Option<Replica>,
    options: Options,
    announcer: Announcer,
    /// Writers take one of [`WRITERS`] turns before they take a connection: waiting writers would keep connections from readers.
    turns: tokio::sync::Semaphore,
    /// The number of events that this process has stored,
    fresh: AtomicI64,
    /// and what it was when statistics were last collected.
    analyzed: AtomicI64,
    /// Batches to be written.
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
    /// Connects to the database at `url` and migrates its schema.
    ///
    /// # Errors
    /// Fails if the server cannot be reached or refuses, or the schema is newer than this program.
    pub async fn open(url: &str, archive: Options) -> Result<Self, StorageError> {
        let server = connect(url).await?;
        let mut schema = settled(&server).await?;
        if let Schema::Unsettled(_) = schema {
            settle(&server, archive.profile).await?;
            schema = settled(&server).await?;
        }
        let Schema::Settled(settled) = schema else {
            return Err(StorageError::Damaged { what: "schema", detail: "it does not stay as it was made".into() });
        };
        let this = Self::on(url, server, archive, settled)?;
        this.settle_search(archive).await?;
        Ok(Self { options: archive, ..this })
    }

    /// Connects to an existing archive, and leaves its schema and its full-text index as they are: agents of an older version
    /// may be using them.
    ///
    /// # Errors
    /// As [`PostgresArchive::open`], and if the schema is older than this program's.
    pub async fn open_to_read(url: &str, archive: Options) -> Result<Self, StorageError> {
        let server = connect(url).await?;
        match settled(&server).await? {
            Schema::Settled(settled) => Self::on(url, server, archive, settled),
            Schema::Unsettled(0) => Err(StorageError::Empty),
            Schema::Unsettled(version) if version > newest_migration() => Err(StorageError::Newer(version)),
            Schema::Unsettled(version) => Err(StorageError::Older(version)),
        }
    }

    fn on(url: &str, server: Server, archive: Options, settled: Settled) -> Result<Self, StorageError> {
        let Settled { profile, search, distributed } = settled;
        archive.profile.check(&profile)?;
        Ok(Self {
            url: url.to_owned(),
            server,
            distributed,
            replica: None,
            options: Options { search, ..archive },
            announcer: Announcer::default(),
            turns: tokio::sync::Semaphore::new(WRITERS),
            fresh: AtomicI64::new(0),
            analyzed: AtomicI64::new(0),
            queue: Default::default(),
        })
    }

    /// Answers client queries from a replica while it can be reached.
    ///
    /// # Errors
    /// Fails if the URL is invalid.
    pub fn reading_from(self, url: &str) -> Result<Self, StorageError> {
        Ok(Self { replica: Some(Replica::new(read_url(url)?)), ..self })
    }

    /// Returns a connection for the query of a client.
    async fn reader_for_clients(&self) -> Result<Reader, StorageError> {
        if let Some(replica) = self.replica.as_ref().filter(|_| time_limit().is_some())
            && let Some(reader) = replica.reader_for_clients().await?
        {
            return Ok(reader);
        }
        self.server.reader_for_clients().await
    }
}

/// The properties of an archive that is up to date.
struct Settled {
    profile: String,
    search: bool,
    distributed: bool,
}

enum Schema {
    Settled(Settled),
    /// A migration is needed; with the schema's version, 0 for an empty database.
    Unsettled(i64),
}

/// Returns the version of the newest schema.
fn newest_migration() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Finds out whether a migration is needed, without blocking writers.
async fn settled(server: &Server) -> Result<Schema, StorageError> {
    let mut tx = server.begin_as("read only").await?;
    let made: bool = sqlx::query_scalar(postgres!("schema_exists")).fetch_one(&mut *tx).await?;
    if !made {
        return Ok(Schema::Unsettled(0));
    }
    let version: Option<i64> = sqlx::query_scalar(postgres!("schema_version")).fetch_one(&mut *tx).await?;
    let version = version.unwrap_or_default();
    if version != newest_migration() {
        return Ok(Schema::Unsettled(version));
    }
    let (profile, search): (Option<String>, i32) =
        sqlx::query_as(postgres!("archive_options")).fetch_one(&mut *tx).await?;
    let distributed = distributed::is_distributed(&mut tx).await?;
    Ok(match profile.zip(distributed) {
        Some((profile, distributed)) => {
            Schema::Settled(Settled { profile, search: search == search::VERSION, distributed })
        }
        None => Schema::Unsettled(version),
    })
}

/// Migrates the schema in one transaction, one agent at a time; a session lock would not outlast a statement behind a pooler.
async fn settle(server: &Server, profile: Profile) -> Result<(), StorageError> {
    let mut tx = server.begin().await?;
    lock::lock(&mut tx).await?;
    MIGRATOR.run(&mut *tx).await?;
    sqlx::query(postgres!("archive_set_profile")).bind(profile.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    let mut tx = server.begin().await?;
    lock::lock(&mut tx).await?;
    distributed::distribute(&mut tx).await?;
    Ok(tx.commit().await?)
}

fn read_url(url: &str) -> Result<PgConnectOptions, StorageError> {
    PgConnectOptions::from_str(url).map_err(|source| StorageError::Open {
        backend: "PostgreSQL",
        place: "of that url".into(),
        source: source.into(),
    })
}

async fn connect(url: &str) -> Result<Server, StorageError> {
    let options = read_url(url)?;
    Server::connect(&options, CONNECT_TIMEOUT).await.map_err(|source| StorageError::Open {
        backend: "PostgreSQL",
        place: format!(
            "{} at {}:{}",
            options.get_database().unwrap_or("(default)"),
            options.get_host(),
            options.get_port()
        ),
        source: source.into(),
    })
}

fn bind(
    mut query: sqlx::query::Query<'_, Postgres, PgArguments>,
    args: Vec<Value>,
) -> sqlx::query::Query<'_, Postgres, PgArguments> {
    for arg in args {
        query = match arg {
            Value::Int(n) => query.bind(n),
            // PostgreSQL's text cannot hold NUL: nothing with NUL can be found, and it is stored as it is shown.
            Value::Text(text) => query.bind(text.map(|text| text.replace('\0', "\u{FFFD}"))),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::Texts(list) => query.bind(list),
            Value::Ints(list) => query.bind(list),
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
    async fn execute(&mut self, query: Query, args: Vec<Value>) -> Result<u64, StorageError> {
        Ok(bind(sqlx::query(query.postgres), args).execute(&mut *self.0).await?.rows_affected())
    }

    async fn rows(&mut self, query: Query, args: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        bind(sqlx::query(query.postgres), args).fetch_all(&mut *self.0).await?.iter().map(row).collect()
    }

    async fn commit(self: Box<Self>) -> Result<(), StorageError> {
        self.0.commit().await.map_err(of_commit)
    }
}

#[async_trait]
impl Database for PostgresArchive {
    async fn rows(&self, query: Query, args: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        let mut reader = self.server.reader().await?;
        let rows = bind(sqlx::query(query.postgres), args).fetch_all(reader.connection()).await;
        reader.ended(rows).await?.iter().map(row).collect()
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StorageError> {
        Ok(Box::new(PostgresTransaction(self.server.begin().await?)))
    }

    async fn shut(&self) {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        self.server.close().await;
    }
}

/// Converts a value of the simple protocol, which is text: numbers become numbers again.
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

/// How long a cancelled statement may take to end before it is cancelled again.
const CANCELLED: Duration = Duration::from_secs(1);

impl PostgresArchive {
    /// Cancels the statement of another connection.
    async fn cancel(&self, process: i32) -> Result<(), StorageError> {
        let mut tx = self.server.begin_as("read only").await?;
        sqlx::query(postgres!("process_cancel")).bind(process).persistent(false).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

#[async_trait]
impl Archive for PostgresArchive {
    async fn backup(&self, target: &Path) -> Result<Counts, StorageError> {
        self.dump(target).await
    }

    async fn sql(&self, statement: &str, rows: mpsc::Sender<SqlRow>) -> Result<(), StorageError> {
        if statement.contains('\0') {
            return Err(StorageError::Unfit("a statement cannot hold NUL".into()));
        }
        let mut tx = self.server.begin_as("read only").await?;
        // After a read, a transaction can no longer be made writable.
        let process: i32 = sqlx::query_scalar(postgres!("process")).persistent(false).fetch_one(&mut *tx).await?;
        sqlx::raw_sql(
            "set local enable_seqscan = on; set local enable_hashjoin = on; set local enable_mergejoin = on; \
             set local jit = on",
        )
        .execute(&mut *tx)
        .await?;
        // Several statements could end the transaction and continue in another one. They cannot be prepared.
        let sql = AssertSqlSafe(statement.to_owned()).into_sql_str();
        tx.prepare(sql.clone()).await?;
        let mut found = sqlx::raw_sql(sql).fetch(&mut *tx);
        let mut named = false;
        loop {
            let row = tokio::select! {
                biased;
                row = found.try_next() => row?,
                () = rows.closed() => {
                    self.cancel(process).await?;
                    // The statement may have come later than the request to cancel it.
                    match tokio::time::timeout(CANCELLED, found.try_next()).await {
                        Ok(Ok(None)) => break,
                        Ok(Err(error)) => return Err(error.into()),
                        // More rows, or nothing yet.
                        Ok(Ok(Some(_))) | Err(_) => continue,
                    }
                }
            };
            let Some(row) = row else { break };
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

    async fn costly_settings(&self) -> Result<Vec<Setting>, StorageError> {
        let rows = self.rows(postgres_only!("server_settings"), vec![]).await?;
        let setting = |row: &Row| Ok(Setting { name: row.text(0)?, value: row.text(1)?, recommended: row.text(2)? });
        rows.iter().map(setting).collect()
    }

    async fn close(&self) {
        self.shut().await;
    }

    fn backend(&self) -> &'static str {
        if self.distributed { "PostgreSQL (Citus)" } else { "PostgreSQL" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn migrations_are_those_that_sqlx_reads_from_the_directory() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/postgres");
        let read = Migrator::new(directory).await.expect("migrations");
        let fields_of = |migrator: &Migrator| {
            let fields = |one: &Migration| (one.version, one.description.clone(), one.checksum.clone(), one.no_tx);
            migrator.iter().map(fields).collect::<Vec<_>>()
        };
        assert_eq!(fields_of(&MIGRATOR), fields_of(&read));
    }
}
