//! The archive: events exactly as they were signed, which relays hold each of them, which spans of time are proven complete,
//! and what is known of the relays.
//!
//! One trait, [`Archive`], and two backends: SQLite (embedded, the default) and PostgreSQL. This crate opens no network
//! connection other than the one to its own database.
//!
//! Without the feature `backends` it has the interfaces alone, and compiles neither SQLite nor a PostgreSQL client.

#![cfg_attr(
    not(feature = "backends"),
    expect(dead_code, unused_imports, unused_macros, reason = "the backends share it")
)]

mod archive;
#[cfg(feature = "backends")]
mod backoff;
#[cfg(feature = "backends")]
mod backup;
mod batch;
mod database;
mod decode;
mod error;
#[cfg(feature = "backends")]
mod files;
mod new_events;
mod nostr_database;
#[cfg(feature = "backends")]
mod open;
mod options;
#[cfg(feature = "backends")]
mod payload;
#[cfg(feature = "backends")]
mod postgres;
mod prepare;
mod query;
#[cfg(feature = "backends")]
mod retrying;
mod rows;
mod search;
#[cfg(feature = "backends")]
mod select;
#[cfg(feature = "backends")]
mod sqlite;
mod stores;
mod tag_key;
mod time_limit;
#[cfg(feature = "backends")]
mod varint;
mod view;

pub use archive::{Archive, EventStore, Setting, SightingStore, SqlRow};
pub use batch::{Batch, Stored};
pub use error::StorageError;
pub use new_events::NewEvents;
pub use nostr_database::NostrArchive;
#[cfg(feature = "backends")]
pub use open::{open, open_to_read, open_with_replica, restore};
pub use options::{FaultInjector, InjectedFault, Options, Profile};
#[cfg(feature = "backends")]
pub use postgres::PostgresArchive;
pub use prepare::{Prepared, Preparer};
pub use rows::*;
pub use search::{EventTerms, Search, search_matches};
#[cfg(feature = "backends")]
pub use sqlite::SqliteArchive;
pub use stores::{CheckStore, CoverageStore, JobStore, LeaseStore, OutboxStore, PaymentStore, RelayStore, StateStore};
pub use time_limit::with_time_limit;
pub use view::View;
