//! What can go wrong in the archive.

use crate::Profile;

/// Why the archive could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The storage URL names no backend of ours.
    #[error("the storage url must start with sqlite:// or postgres://")]
    Scheme,
    /// The database could not be opened or reached. The URL is not repeated, since it may hold a password.
    #[error("failed to open the {backend} database {place}: {source}")]
    Open {
        /// `SQLite` or `PostgreSQL`.
        backend: &'static str,
        /// A path, or host, port and database name.
        place: String,
        /// What the driver said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be used.
    #[error("failed to {doing} {place}: {source}")]
    Io {
        /// What was tried: `open`, `lock`.
        doing: &'static str,
        /// The path.
        place: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process writes to the SQLite file.
    #[error("the archive {0} is in use by another brotr: stop it first, or give this one another storage.url")]
    Locked(String),
    /// The archive was opened to be read.
    #[error("the archive was opened to be read only")]
    ReadOnly,
    /// The archive is closed, or closing.
    #[error("the archive is closed")]
    Closed,
    /// The archive keeps less, or more, than is asked for.
    #[error(
        "the archive was made with the profile {}, and the profile is now {}: set `profile: {}`, or name another storage.url",
        kept.as_str(), asked.as_str(), kept.as_str()
    )]
    Profile {
        /// What it was made with.
        kept: Profile,
        /// What was asked for.
        asked: Profile,
    },
    /// Events were asked for, and the archive has only parts of them.
    #[error(
        "this archive keeps neither content nor tags nor signatures (profile lilbrotr): events can be counted, not given"
    )]
    NoContents,
    /// There is something where a file or an archive is to be made.
    #[error("{0} is there already: nothing is written over it")]
    Occupied(String),
    /// A file is not a backup, or not a whole one.
    #[error("{place} is no backup that can be used: {detail}")]
    NoBackup {
        /// The path.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
    /// One of PostgreSQL's own programs failed.
    #[error("failed to run {program}: {detail}")]
    Tool {
        /// `pg_dump` or `pg_restore`.
        program: &'static str,
        /// What it said.
        detail: String,
    },
    /// PostgreSQL's own programs set what a connection keeps, which a pooler would lend to others.
    #[error(
        "storage.url leads to a pooler: pg_dump and pg_restore need the server itself, name it in storage.url for this"
    )]
    Pooled,
    /// A search was asked for, and there is no index of the text.
    #[error("this archive has no full-text index: leave `search` out; its operator can set storage.search: true")]
    NoSearch,
    /// The schema could not be brought up to date.
    #[error("failed to migrate the database: {0}")]
    Migrate(Box<dyn std::error::Error + Send + Sync>),
    /// The database was written by a newer version of this program.
    #[error("the database has schema version {0}, which is newer than this program knows: upgrade brotr")]
    Newer(i64),
    /// There is nothing in the database, and it was opened to be read only.
    #[error("the database holds no archive yet: `brotr init` or `brotr run` makes it")]
    Empty,
    /// The database was written by an older version of this program, and was opened to be read only.
    #[error(
        "the database has schema version {0}, which is older than this program's: `brotr init` or `brotr run` migrates it"
    )]
    Older(i64),
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Statement(#[from] sqlx::Error),
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The connection was lost while a transaction was being committed: it may be committed or not.
    #[error("the connection to the database was lost during a commit: {0}")]
    Uncertain(sqlx::Error),
    /// A stored row does not have the form this program writes.
    #[error("a stored {what} is damaged: {detail}")]
    Damaged {
        /// The table's noun.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// A stored word has no meaning.
    #[error("the database holds an {0}")]
    Word(#[from] brotr_core::UnknownWord),
    /// An event was packed with a dictionary that another process has added since this one opened the archive.
    #[error("an event needs compression dictionary {0}, which was not there when the archive was opened: try again")]
    UnknownDictionary(usize),
    /// A query exceeded its time limit.
    #[error("the query exceeded {} s: narrow the filter by authors, kinds, tags or time", .0.as_secs_f32())]
    TooLong(std::time::Duration),
    /// A bug of ours; with the message of the panic.
    #[error("failed to write a batch, because of a bug in brotr: {0}")]
    Panicked(String),
    /// An input is outside what the archive can hold.
    #[error("{0}")]
    Unfit(String),
}

impl StorageError {
    /// Whether the database ended a statement because it took too long.
    pub(crate) fn is_interrupted(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted),
            Self::Statement(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == "57014"),
            _ => false,
        }
    }

    /// Whether the same may succeed later: the server is away or starting, the disk is full, a lock is held.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
        match self {
            Self::Uncertain(_) => true,
            Self::Statement(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_)) => true,
            // Connection, serialization, resources, a lock that is held, and an operator's doing.
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

/// Turns the error of a commit into ours.
pub(crate) fn of_commit(error: sqlx::Error) -> StorageError {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => StorageError::Uncertain(error),
        // A pooler says in this way that it lost the server. A server that is being stopped has not committed (57P01).
        sqlx::Error::Database(ref told) if told.code().is_some_and(|code| code.starts_with("08")) => {
            StorageError::Uncertain(error)
        }
        error => error.into(),
    }
}

impl From<sqlx::migrate::MigrateError> for StorageError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::Newer(version),
            other => Self::Migrate(Box::new(other)),
        }
    }
}
