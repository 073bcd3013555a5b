//! From what relays give to verified events, on all cores. A known event is recognised by the hash of its text: it is
//! not parsed, and its signature is not verified again.

use std::sync::Arc;

use brotr_storage::{Archive, BadEvent, Event, RawEvent, StorageError, Verified};
use nostr::EventId;
use tokio::sync::Semaphore;

/// Fewer events than this are not worth another thread.
const CHUNK: usize = 32;

/// Checks events against their signatures and the archive.
#[derive(Debug, Clone)]
pub struct Ingest {
    archive: Arc<dyn Archive>,
    cores: Arc<Semaphore>,
    threads: usize,
}

/// What became of a list of events.
#[derive(Debug, Default)]
pub struct Checked {
    /// Verified, and not in the archive when it was asked.
    pub new: Vec<Verified>,
    /// In the archive already, with what they say of their time.
    pub known: Vec<(EventId, i64)>,
    /// Not what was signed, by place in the list.
    pub bad: Vec<(usize, BadEvent)>,
}

impl Checked {
    /// Ids and times of everything that is sound.
    pub fn sound(&self) -> impl Iterator<Item = (EventId, i64)> {
        self.new.iter().map(|v| (v.event().id, v.event().created_at)).chain(self.known.iter().copied())
    }

    /// The ids of the known ones.
    #[must_use]
    pub fn known_ids(&self) -> Vec<EventId> {
        self.known.iter().map(|(id, _)| *id).collect()
    }
}

enum Outcome {
    New(Box<Verified>),
    Known(EventId, i64),
    Bad(BadEvent),
}

impl Ingest {
    /// On this archive, with a thread for each core.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { archive, cores: Arc::new(Semaphore::new(threads)), threads }
    }

    /// Checks a list of events.
    ///
    /// # Errors
    /// When the archive cannot be asked.
    pub async fn check(&self, events: Vec<RawEvent>) -> Result<Checked, StorageError> {
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let stored = Arc::new(self.archive.known(&ids).await?);
        let size = events.len().div_ceil(self.threads).max(CHUNK);
        let mut chunks = Vec::new();
        let mut events = events.into_iter();
        loop {
            let chunk: Vec<RawEvent> = events.by_ref().take(size).collect();
            if chunk.is_empty() {
                break;
            }
            let stored = stored.clone();
            let permit = self.cores.clone().acquire_owned().await.expect("the semaphore is never closed");
            chunks.push(tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let check = |raw: RawEvent| {
                    let known = stored.contains(&raw.id);
                    if known && raw.is_as_signed() {
                        return Outcome::Known(raw.id, raw.created_at);
                    }
                    match raw.parse().and_then(Event::identify) {
                        Ok(one) if known => Outcome::Known(one.event().id, one.event().created_at),
                        Ok(one) => one.verify().map_or_else(Outcome::Bad, |v| Outcome::New(Box::new(v))),
                        Err(error) => Outcome::Bad(error),
                    }
                };
                chunk.into_iter().map(check).collect::<Vec<_>>()
            }));
        }
        let mut checked = Checked::default();
        let mut place = 0;
        for chunk in chunks {
            for outcome in chunk.await.expect("verification does not panic") {
                match outcome {
                    Outcome::New(verified) => checked.new.push(*verified),
                    Outcome::Known(id, at) => checked.known.push((id, at)),
                    Outcome::Bad(error) => checked.bad.push((place, error)),
                }
                place += 1;
            }
        }
        Ok(checked)
    }
}
