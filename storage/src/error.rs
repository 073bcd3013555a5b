//! What can go wrong in the archive.

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
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("failed to migrate the database: {0}")]
    Migrate(sqlx::migrate::MigrateError),
    /// The database was written by a newer version of this program.
    #[error("the database has schema version {0}, which is newer than this program knows: upgrade brotr")]
    Newer(i64),
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Statement(#[from] sqlx::Error),
    /// A stored row does not have the form this program writes.
    #[error("a stored {what} is damaged: {detail}")]
    Damaged {
        /// The table's noun.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// An input is outside what the archive can hold.
    #[error("{0}")]
    Unfit(String),
}

impl From<sqlx::migrate::MigrateError> for StorageError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::Newer(version),
            other => Self::Migrate(other),
        }
    }
}
