//! State that services keep in the archive for their next run, typed: the table holds text.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use brotr_storage::{ServiceState, StateStore, StorageError};
use nostr::EventId;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One kind of state of a service: values of type `T` by key.
pub struct State<T> {
    service: &'static str,
    kind: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: Display + FromStr> State<T> {
    /// Names the state of a kind that a service keeps. The names are stored.
    #[must_use]
    pub const fn new(service: &'static str, kind: &'static str) -> Self {
        Self { service, kind, value: PhantomData }
    }

    /// Returns the value of a key; `None` if there is none, or none that can be read.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn get(&self, store: &(impl StateStore + ?Sized), key: &str) -> Result<Option<T>, StorageError> {
        Ok(store.state(self.service, self.kind, key).await?.and_then(|text| text.parse().ok()))
    }

    /// Returns all values that can be read, by key.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn all(&self, store: &(impl StateStore + ?Sized)) -> Result<BTreeMap<String, T>, StorageError> {
        let values = store.states(self.service, self.kind).await?;
        Ok(values.into_iter().filter_map(|(key, text)| Some((key, text.parse().ok()?))).collect())
    }

    /// Stores the value of a key.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn set(&self, store: &(impl StateStore + ?Sized), key: &str, value: &T) -> Result<(), StorageError> {
        store.set_state(self.service, self.kind, key, &value.to_string()).await
    }

    /// Removes the value of a key.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn clear(&self, store: &(impl StateStore + ?Sized), key: &str) -> Result<(), StorageError> {
        store.set_state(self.service, self.kind, key, "").await
    }

    /// Returns the value of a key, to be stored in the transaction of something else.
    #[must_use]
    pub fn entry(&self, key: &str, value: &T) -> ServiceState {
        ServiceState { service: self.service, kind: self.kind, key: key.to_owned(), value: value.to_string() }
    }
}

/// A value that is stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

impl<T: DeserializeOwned> FromStr for Json<T> {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Self)
    }
}

/// Why a relay is neither checked nor read.
pub const OPTED_OUT: State<Objection> = State::new("monitor", "opted out");

/// The value of [`OPTED_OUT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// `network.avoid` lists it.
    Listed,
    /// Its host's `robots.txt`.
    Robots,
    /// A request signed by the key of its information document (NIP-11).
    Request(EventId),
}

impl Objection {
    /// Returns it in words.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Listed => "network.avoid lists it".into(),
            Self::Robots => "its robots.txt disallows it".into(),
            Self::Request(id) => format!("its operator asked for it, in event {id}"),
        }
    }
}

impl Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed => f.write_str("listed"),
            Self::Robots => f.write_str("robots"),
            Self::Request(id) => write!(f, "request {id}"),
        }
    }
}

impl FromStr for Objection {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(' ') {
            None if text == "listed" => Ok(Self::Listed),
            None if text == "robots" => Ok(Self::Robots),
            Some(("request", id)) => EventId::from_hex(id).map(Self::Request).map_err(|_| ()),
            _ => Err(()),
        }
    }
}

/// How many events a relay was observed to return per request.
pub const OBSERVED_CAP: State<ObservedCap> = State::new("synchronizer", "cap");

/// The value of [`OBSERVED_CAP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedCap {
    /// The number of events.
    pub events: usize,
    /// How long it is trusted, in unix seconds.
    pub until: i64,
}

impl Display for ObservedCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.events, self.until)
    }
}

impl FromStr for ObservedCap {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (events, until) = text.split_once(' ').ok_or(())?;
        Ok(Self { events: events.parse().map_err(|_| ())?, until: until.parse().map_err(|_| ())? })
    }
}

/// Whether a relay's hints (NIP-67) are true, by its URL.
pub const HINTS: State<Hints> = State::new("synchronizer", "hints");
/// What was seen of a relay's hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hints {
    /// They were true in this many visits, and never wrong.
    Confirmed {
        /// The number of visits.
        visits: u32,
        /// The largest page of which it was true, in events.
        largest: usize,
    },
    /// One was wrong, at this time in unix seconds.
    Refuted(i64),
}

impl Hints {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed { .. } => "confirmed",
            Self::Refuted(_) => "refuted",
        }
    }
}

impl Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { visits, largest } => write!(f, "{} {visits} {largest}", self.as_str()),
            Self::Refuted(at) => write!(f, "{} {at}", self.as_str()),
        }
    }
}

impl FromStr for Hints {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(' ').ok_or(())? {
            ("confirmed", rest) => {
                let (visits, largest) = rest.split_once(' ').ok_or(())?;
                Ok(Self::Confirmed {
                    visits: visits.parse().map_err(|_| ())?,
                    largest: largest.parse().map_err(|_| ())?,
                })
            }
            ("refuted", at) => at.parse().map(Self::Refuted).map_err(|_| ()),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn state_is_stored_and_unreadable_state_is_absent() {
        const LISTS: State<Json<Vec<u8>>> = State::new("test", "lists");
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}", dir.path().join("archive.db").display());
        let archive = brotr_storage::open(&url, brotr_storage::Options::default()).await.expect("opened");
        let archive = archive.as_ref();
        assert_eq!(LISTS.get(archive, "a").await.expect("read"), None);
        LISTS.set(archive, "a", &Json(vec![1, 2])).await.expect("written");
        LISTS.set(archive, "b", &Json(vec![])).await.expect("written");
        archive.set_state("test", "lists", "c", "{").await.expect("written");
        assert_eq!(LISTS.get(archive, "a").await.expect("read"), Some(Json(vec![1, 2])));
        assert_eq!(LISTS.get(archive, "c").await.expect("read"), None);
        assert_eq!(LISTS.all(archive).await.expect("read").into_keys().collect::<Vec<_>>(), ["a", "b"]);
        LISTS.clear(archive, "a").await.expect("written");
        assert_eq!(LISTS.get(archive, "a").await.expect("read"), None);
        for hints in [Hints::Confirmed { visits: 2, largest: 70 }, Hints::Refuted(9)] {
            assert_eq!(HINTS.entry("r", &hints).value.parse(), Ok(hints));
        }
        for objection in [Objection::Listed, Objection::Robots, Objection::Request(EventId::all_zeros())] {
            assert_eq!(OPTED_OUT.entry("r", &objection).value.parse(), Ok(objection));
        }
        let cap = ObservedCap { events: 500, until: 7 };
        assert_eq!((OBSERVED_CAP.entry("r", &cap).value.parse(), "500".parse::<ObservedCap>()), (Ok(cap), Err(())));
    }
}
