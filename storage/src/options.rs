//! What an archive keeps and indexes.

use std::time::Duration;

use nostr::Filter;

use crate::StorageError;

type Result<T> = std::result::Result<T, StorageError>;

/// What an archive keeps of an event. It is fixed when the archive is created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Everything that was signed.
    #[default]
    Bigbrotr,
    /// Id, author, date, kind and tag values; neither the other tags nor content nor signature.
    Lilbrotr,
}

impl Profile {
    /// Returns its name in the configuration and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bigbrotr => "bigbrotr",
            Self::Lilbrotr => "lilbrotr",
        }
    }

    /// Fails if an archive that keeps `kept` cannot be opened with this profile.
    pub(crate) fn check(self, kept: &str) -> Result<()> {
        let kept: Self = kept.parse()?;
        if kept == self { Ok(()) } else { Err(StorageError::Profile { kept, asked: self }) }
    }

    /// Fails if the archive does not keep whole events.
    pub(crate) fn keeps_contents(self) -> Result<()> {
        match self {
            Self::Bigbrotr => Ok(()),
            Self::Lilbrotr => Err(StorageError::NoContents),
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = StorageError;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "bigbrotr" => Ok(Self::Bigbrotr),
            "lilbrotr" => Ok(Self::Lilbrotr),
            other => Err(StorageError::Damaged { what: "profile", detail: other.to_owned() }),
        }
    }
}

/// A fault that a test injects into a store call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedFault {
    /// The call does nothing, and fails with a transient error.
    RolledBack,
    /// The call is done, and then fails as if the connection had been lost while it was committed.
    Uncertain,
    /// The call does nothing, and fails as on a full disk.
    DiskFull,
    /// The call is done after a delay.
    Delayed(Duration),
}

/// Returns the fault of the next try of the named store call, if it has one.
pub type FaultInjector = fn(call: &'static str) -> Option<InjectedFault>;

/// How an archive is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What the archive keeps.
    pub profile: Profile,
    /// Whether the text of kinds 0, 1 and 30023 is indexed (NIP-50). Turning it on indexes the stored events.
    pub search: bool,
    /// Whether the runtime's clock is paused, as in a simulation. Tokio advances a paused clock as soon as no task can run and
    /// nothing runs on its blocking pool: with this, SQLite has no thread of its own, and short work is done by the caller.
    pub paused_clock: bool,
    /// Faults that a test injects into the store calls that are retried, except
    /// [`EventStore::remove`](crate::EventStore::remove).
    pub fault_injector: Option<FaultInjector>,
}

impl Options {
    /// Returns true if the text of events is indexed. An archive that keeps no contents keeps none of their words either.
    pub(crate) fn indexes_text(self) -> bool {
        self.search && self.profile == Profile::Bigbrotr
    }

    /// Fails if a filter searches for text and the archive has no index of it.
    pub(crate) fn can_search(self, filters: &[Filter]) -> Result<()> {
        if filters.iter().all(|filter| filter.search.is_none()) {
            return Ok(());
        }
        self.profile.keeps_contents()?;
        if self.search { Ok(()) } else { Err(StorageError::NoSearch) }
    }
}
