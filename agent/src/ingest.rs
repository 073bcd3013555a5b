//! Verifies events from relays, and prepares new ones for the archive, on all cores. A known event is recognised by the hash of
//! its text: it is not parsed, and its signature is not verified again.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use brotr_core::{Event, Identified, InvalidEvent, RawEvent};
use brotr_storage::{EventStore, Prepared, Preparer, StorageError};
use lru::LruCache;
use nostr::EventId;
use tokio::sync::Semaphore;

/// The smallest number of events per thread, since signatures cost less the more of them are verified together;
const CHUNK: usize = 512;
/// and the largest, beyond which little is gained.
const MOST: usize = 4_096;
/// How long the events of a source of a forged event are verified one by one: one forged signature in each batch would cost
/// more than batches save.
const SUSPECTED: Duration = Duration::from_secs(10 * 60);
/// The most sources that are remembered.
const SUSPECTS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not 0");

/// Checks events against their signatures and the archive.
#[derive(Debug, Clone)]
pub struct Ingest {
    archive: Arc<dyn EventStore>,
    preparer: Preparer,
    cores: Arc<Semaphore>,
    threads: usize,
    /// Sources of forged events, and when each last sent one.
    suspects: Arc<Mutex<LruCache<String, Instant>>>,
}

/// The result of checking a list of events.
#[derive(Debug, Default)]
pub struct Checked {
    /// Verified, prepared, and not in the archive when it was queried.
    pub new: Vec<Prepared>,
    /// In the archive already: id and timestamp.
    pub known: Vec<(EventId, i64)>,
    /// Invalid, with their index in the list, in ascending order.
    pub bad: Vec<(usize, InvalidEvent)>,
}

impl Checked {
    /// Returns ids and timestamps of all valid events.
    pub fn sound(&self) -> impl Iterator<Item = (EventId, i64)> {
        self.new.iter().map(|event| (event.id(), event.created_at())).chain(self.known.iter().copied())
    }

    /// Returns the ids of the known events.
    #[must_use]
    pub fn known_ids(&self) -> Vec<EventId> {
        self.known.iter().map(|(id, _)| *id).collect()
    }
}

/// What is known of an event before its signature is verified.
enum Found {
    New(Identified),
    Known(EventId, i64),
    Bad(InvalidEvent),
}

impl Found {
    fn of(raw: RawEvent, is_known: bool) -> Self {
        if is_known && raw.is_as_signed() {
            return Self::Known(raw.id, raw.created_at);
        }
        match raw.parse().and_then(Event::identify) {
            Ok(one) if is_known => Self::Known(one.event().id, one.event().created_at),
            Ok(one) => Self::New(one),
            Err(error) => Self::Bad(error),
        }
    }
}

impl Ingest {
    /// Returns a checker for this archive that uses one thread per core.
    #[must_use]
    pub fn new(archive: Arc<dyn EventStore>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let suspects = Arc::new(Mutex::new(LruCache::new(SUSPECTS)));
        let preparer = archive.preparer();
        Self { archive, preparer, cores: Arc::new(Semaphore::new(threads)), threads, suspects }
    }

    /// Checks events from one source, such as a relay's URL. Their signatures are verified together and only with each other,
    /// so that a source of forged events slows down no other source.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn check(&self, source: &str, events: Vec<RawEvent>) -> Result<Checked, StorageError> {
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let stored = Arc::new(self.archive.known(&ids).await?);
        let one_by_one = self.is_suspect(source);
        let size = events.len().div_ceil(self.threads).clamp(CHUNK, MOST);
        let mut chunks = Vec::new();
        let mut events = events.into_iter();
        loop {
            let chunk: Vec<RawEvent> = events.by_ref().take(size).collect();
            if chunk.is_empty() {
                break;
            }
            let (stored, preparer) = (stored.clone(), self.preparer.clone());
            let permit = self.cores.clone().acquire_owned().await.expect("the semaphore is never closed");
            chunks.push(tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let found = chunk.into_iter().map(|raw| {
                    let is_known = stored.contains(&raw.id);
                    Found::of(raw, is_known)
                });
                Checked::of(found, one_by_one, &preparer)
            }));
        }
        let mut checked = Checked::default();
        for (n, chunk) in chunks.into_iter().enumerate() {
            let chunk = chunk.await.expect("verification does not panic");
            checked.new.extend(chunk.new);
            checked.known.extend(chunk.known);
            checked.bad.extend(chunk.bad.into_iter().map(|(place, error)| (n * size + place, error)));
        }
        if checked.bad.iter().any(|(_, error)| *error == InvalidEvent::Signature) {
            self.suspects().put(source.to_owned(), Instant::now());
        }
        Ok(checked)
    }

    fn suspects(&self) -> std::sync::MutexGuard<'_, LruCache<String, Instant>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_suspect(&self, source: &str) -> bool {
        self.suspects().peek(source).is_some_and(|at| at.elapsed() < SUSPECTED)
    }
}

impl Checked {
    /// Verifies the signatures of new events, together or one by one, and prepares the valid ones.
    fn of(found: impl Iterator<Item = Found>, one_by_one: bool, preparer: &Preparer) -> Self {
        let mut checked = Self::default();
        let (mut places, mut new) = (Vec::new(), Vec::new());
        for (place, found) in found.enumerate() {
            match found {
                Found::New(event) => {
                    places.push(place);
                    new.push(event);
                }
                Found::Known(id, at) => checked.known.push((id, at)),
                Found::Bad(error) => checked.bad.push((place, error)),
            }
        }
        let verdicts =
            if one_by_one { new.into_iter().map(Identified::verify).collect() } else { Identified::verify_all(new) };
        for (place, verdict) in places.into_iter().zip(verdicts) {
            match verdict {
                Ok(verified) => checked.new.push(preparer.prepare(verified)),
                Err(error) => checked.bad.push((place, error)),
            }
        }
        checked.bad.sort_unstable_by_key(|(place, _)| *place);
        checked
    }
}

#[cfg(test)]
mod tests {
    use brotr_storage::Batch;
    use nostr::secp256k1::Message;
    use nostr::{EventBuilder, JsonUtil, Keys};

    use super::*;

    fn events(n: usize) -> Vec<nostr::Event> {
        let keys = Keys::generate();
        (0..n).map(|i| EventBuilder::text_note(i.to_string()).sign_with_keys(&keys).expect("signed")).collect()
    }

    fn forge(event: &mut nostr::Event) {
        event.sig = Keys::generate().sign_schnorr(&Message::from_digest([7; 32]));
    }

    fn raw(events: &[nostr::Event]) -> Vec<RawEvent> {
        events.iter().map(|event| RawEvent::from_json(&event.as_json()).expect("an event")).collect()
    }

    async fn ingest(dir: &tempfile::TempDir) -> Ingest {
        let url = format!("sqlite://{}", dir.path().join("archive.db").display());
        Ingest::new(brotr_storage::open(&url, brotr_storage::Options::default()).await.expect("opened"))
    }

    /// More events than one thread takes, so that indices span several threads.
    #[tokio::test]
    async fn verdicts_keep_the_order_of_the_events() {
        let dir = tempfile::tempdir().expect("a directory");
        let ingest = ingest(&dir).await;
        let mut list = events(3 * CHUNK + 100);
        let known = list[700..900].iter().map(|event| Event::from(event).verify().expect("signed")).collect();
        ingest.archive.store(Batch { events: known, ..Batch::default() }).await.expect("stored");
        let (forged, altered) = ([0, 511, 512, 600, 1_100, list.len() - 1], [5, 650, 1_030]);
        forged.iter().for_each(|at| forge(&mut list[*at]));
        altered.iter().for_each(|at| list[*at].content.push('!'));
        let checked = ingest.check("a", raw(&list)).await.expect("checked");
        let mut wanted: Vec<_> = forged.map(|at| (at, InvalidEvent::Signature)).to_vec();
        wanted.extend(altered.map(|at| (at, InvalidEvent::Id)));
        wanted.sort_unstable_by_key(|(at, _)| *at);
        assert_eq!(checked.bad, wanted);
        assert_eq!(checked.known_ids(), list[700..900].iter().map(|event| event.id).collect::<Vec<_>>());
        let is_new = |at: &usize| !(700..900).contains(at) && !forged.contains(at) && !altered.contains(at);
        let new: Vec<_> = (0..list.len()).filter(is_new).map(|at| list[at].id).collect();
        assert_eq!(checked.new.iter().map(Prepared::id).collect::<Vec<_>>(), new);
    }

    #[tokio::test]
    async fn a_source_of_forged_events_alone_is_suspected() {
        let dir = tempfile::tempdir().expect("a directory");
        let ingest = ingest(&dir).await;
        let mut list = events(100);
        let honest = raw(&list);
        forge(&mut list[40]);
        let checked = ingest.check("forger", raw(&list)).await.expect("checked");
        assert_eq!(checked.bad, [(40, InvalidEvent::Signature)]);
        // An event whose id is not its hash is refused before signatures are verified, and is cheap.
        list[40].content.push('!');
        assert_eq!(ingest.check("clumsy", raw(&list)).await.expect("checked").bad, [(40, InvalidEvent::Id)]);
        assert!(ingest.check("honest", honest).await.expect("checked").bad.is_empty());
        assert_eq!(["forger", "clumsy", "honest"].map(|source| ingest.is_suspect(source)), [true, false, false]);
        // One by one, the results are the same.
        list[40] = events(1).remove(0);
        forge(&mut list[40]);
        let checked = ingest.check("forger", raw(&list)).await.expect("checked");
        assert_eq!((checked.bad, checked.new.len()), (vec![(40, InvalidEvent::Signature)], 99));
    }
}
