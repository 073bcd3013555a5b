//! Errors of the archive.

use crate::Profile;

/// An error of the archive.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The scheme of the storage URL is not supported.
    #[error("the storage url must start with sqlite:// or postgres://")]
    Scheme,
    /// The database could not be opened or reached. The URL is not shown, since it may hold a password.
    #[error("failed to open the {backend} database {place}: {source}")]
    Open {
        /// `SQLite` or `PostgreSQL`.
        backend: &'static str,
        /// A path, or host, port and database name.
        place: String,
        /// The driver's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be used.
    #[error("failed to {doing} {place}: {source}")]
    Io {
        /// The operation: `open`, `lock`.
        doing: &'static str,
        /// The path.
        place: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another process has the SQLite file open for writing.
    #[error("the archive {0} is in use by another brotr: stop it first, or give this one another storage.url")]
    Locked(String),
    /// The archive was opened read-only.
    #[error("the archive was opened to be read only")]
    ReadOnly,
    /// The archive is closed, or closing.
    #[error("the archive is closed")]
    Closed,
    /// The archive has another profile.
    #[error(
        "the archive was made with the profile {}, and the profile is now {}: set `profile: {}`, or name another storage.url",
        kept.as_str(), asked.as_str(), kept.as_str()
    )]
    Profile {
        /// The archive's profile.
        kept: Profile,
        /// The configured profile.
        asked: Profile,
    },
    /// Whole events were requested, and the archive has only parts of them.
    #[error(
        "this archive keeps neither content nor tags nor signatures (profile lilbrotr): events can be counted, not given"
    )]
    NoContents,
    /// Something exists where a file or an archive is to be created.
    #[error("{0} is there already: nothing is written over it")]
    Occupied(String),
    /// A file is not a backup, or is incomplete.
    #[error("{place} is no backup that can be used: {detail}")]
    NoBackup {
        /// The path.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A program of PostgreSQL failed.
    #[error("failed to run {program}: {detail}")]
    Tool {
        /// `pg_dump` or `pg_restore`.
        program: &'static str,
        /// Its error output.
        detail: String,
    },
    /// PostgreSQL's programs set session state, which a pooler would pass on to other clients.
    #[error(
        "storage.url leads to a pooler: pg_dump and pg_restore need the server itself, name it in storage.url for this"
    )]
    Pooled,
    /// A search was requested, and the text is not indexed.
    #[error("this archive has no full-text index: leave `search` out; its operator can set storage.search: true")]
    NoSearch,
    /// The schema could not be migrated.
    #[error("failed to migrate the database: {0}")]
    Migrate(Box<dyn std::error::Error + Send + Sync>),
    /// The database was written by a newer version of this program.
    #[error("the database has schema version {0}, which is newer than this program knows: upgrade brotr")]
    Newer(i64),
    /// The database is empty, and was opened read-only.
    #[error("the database holds no archive yet: `brotr init` or `brotr run` makes it")]
    Empty,
    /// The database was written by an older version of this program, and was opened read-only.
    #[error(
        "the database has schema version {0}, which is older than this program's: `brotr init` or `brotr run` migrates it"
    )]
    Older(i64),
    /// A statement failed.
    #[cfg(feature = "backends")]
    #[error("the database refused a statement: {}", of_postgres(.0))]
    Statement(sqlx::Error),
    /// A statement failed.
    #[cfg(feature = "backends")]
    #[error("the database refused a statement: {}", of_sqlite(.0))]
    Sqlite(rusqlite::Error),
    /// The connection was lost during a commit: the transaction may be committed or not.
    #[cfg(feature = "backends")]
    #[error("the connection to the database was lost during a commit: {0}")]
    Uncertain(sqlx::Error),
    /// A stored row is not in the expected form.
    #[error("a stored {what} is damaged: {detail}")]
    Damaged {
        /// The table.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// A stored word is unknown.
    #[error("the database holds an {0}")]
    Word(#[from] brotr_core::UnknownWord),
    /// An event was packed with a dictionary that another process added after this one had opened the archive.
    #[error("an event needs compression dictionary {0}, which was not there when the archive was opened: try again")]
    UnknownDictionary(usize),
    /// A query exceeded its time limit.
    #[error("the query exceeded {} s: narrow the filter by authors, kinds, tags or time", .0.as_secs_f32())]
    TooLong(std::time::Duration),
    /// A bug in this program; with the message of the panic.
    #[error("failed to write a batch, because of a bug in brotr: {0}")]
    Panicked(String),
    /// An input that the archive cannot hold.
    #[error("{0}")]
    Unfit(String),
}

// Neither is the source of the error: its text is in ours, and its own sources repeat it in the library's terms.
#[cfg(feature = "backends")]
impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Statement(error)
    }
}

#[cfg(feature = "backends")]
impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Returns what the server says, without the library's introduction.
#[cfg(feature = "backends")]
fn of_postgres(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |reported| reported.message().to_owned())
}

/// Returns what SQLite says, and where in the statement, without the statement.
#[cfg(feature = "backends")]
fn of_sqlite(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, offset, .. } if *offset >= 0 => {
            format!("{msg}, at byte {}", offset + 1)
        }
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        error => error.to_string(),
    }
}

#[cfg(feature = "backends")]
impl StorageError {
    /// Returns true if the database cancelled a statement because it took too long.
    pub(crate) fn is_interrupted(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted),
            Self::Statement(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == "57014"),
            _ => false,
        }
    }

    /// Returns true for transient errors: the server is away or starting, the disk is full, a lock is held.
    pub(crate) fn is_passing(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
        match self {
            Self::Uncertain(_) => true,
            Self::Statement(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_)) => true,
            // Connection, serialization, resources, held locks, and an operator's intervention.
            Self::Statement(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| ["08", "40", "53", "55P03", "57P"].iter().any(|class| code.starts_with(class))),
            Self::Sqlite(error) => error
                .sqlite_error_code()
                .is_some_and(|code| matches!(code, DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure)),
            _ => false,
        }
    }
}

/// Converts the error of a commit.
#[cfg(feature = "backends")]
pub(crate) fn of_commit(error: sqlx::Error) -> StorageError {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => StorageError::Uncertain(error),
        // This is how a pooler reports that it lost the server. A server that is being stopped has not committed (57P01).
        sqlx::Error::Database(ref reported) if reported.code().is_some_and(|code| code.starts_with("08")) => {
            StorageError::Uncertain(error)
        }
        error => error.into(),
    }
}

#[cfg(feature = "backends")]
impl From<sqlx::migrate::MigrateError> for StorageError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::Newer(version),
            other => Self::Migrate(Box::new(other)),
        }
    }
}
