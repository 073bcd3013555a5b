//! The archive: events exactly as they were signed, which relays hold each of them, which spans of time are
//! proven complete, and what is known of the relays themselves.
//!
//! One trait, [`Archive`], and two backends: SQLite (embedded, the default) and PostgreSQL. This crate opens no
//! network connection other than the one to its own database.

mod archive;
mod coverage;
mod error;
mod event;
mod filter;
mod ledger;
mod nostr_database;
mod postgres;
mod rows;
mod select;
mod sqlite;

use std::sync::Arc;

pub use archive::{Archive, Events, Ledger};
pub use coverage::{Interval, IntervalSet};
pub use error::StorageError;
pub use event::{BadEvent, Event, Identified, Verified};
pub use filter::{FilterError, matches, parse_filter};
pub use nostr_database::NostrArchive;
pub use postgres::PostgresArchive;
pub use rows::*;
pub use sqlite::SqliteArchive;

/// Opens the archive that `url` names, creating and migrating its schema.
///
/// `url` is `sqlite://PATH` or `postgres://...`.
///
/// # Errors
/// When the scheme is neither, the database cannot be reached, or its schema is newer than this program.
pub async fn open(url: &str) -> Result<Arc<dyn Archive>, StorageError> {
    if url.starts_with("sqlite:") {
        Ok(Arc::new(SqliteArchive::open(url).await?))
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        Ok(Arc::new(PostgresArchive::open(url).await?))
    } else {
        Err(StorageError::Scheme)
    }
}
