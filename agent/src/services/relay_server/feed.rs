//! New events, for clients with subscriptions: read from the archive once, checked once, serialized once.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use brotr_core::{Event, matches};
use brotr_storage::{EventStore, EventTerms, NewEvents, Search, StorageError};
use nostr::{EventId, Filter};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::view;

/// The pause after a read that left nothing to read, and how many events are read at a time.
const PACE: Duration = Duration::from_millis(20);
const PAGE: usize = 128;
/// Backoff after a failed read.
const RETRY: Duration = Duration::from_secs(1);
/// The most events kept for clients that have not read them yet.
const MAX_EVENTS: usize = 50_000;
/// The most one read returns: events, and bytes after the first.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 64 << 10;

/// An event that clients may see.
#[derive(Debug)]
pub(super) struct NewEvent {
    pub(super) event: Event,
    pub(super) json: Utf8Bytes,
    /// Computed when the first search is compared with it.
    terms: OnceLock<EventTerms>,
}

impl NewEvent {
    fn new(event: Event) -> Self {
        Self { json: event.to_json().into(), event, terms: OnceLock::new() }
    }

    /// Returns the approximate size in memory: the event, its JSON, and its terms.
    fn bytes(&self) -> usize {
        self.json.len() * 3 + 512
    }

    fn terms(&self) -> &EventTerms {
        self.terms.get_or_init(|| EventTerms::of(&self.event))
    }
}

/// A filter, and the terms that it searches for.
pub(super) struct Wanted {
    filter: Filter,
    search: Option<Search>,
}

impl Wanted {
    pub(super) fn new(filter: Filter) -> Self {
        Self { search: filter.search.as_deref().map(Search::new), filter }
    }

    pub(super) fn matches(&self, new: &NewEvent) -> bool {
        matches(&self.filter, &new.event) && self.search.as_ref().is_none_or(|search| search.matches(new.terms()))
    }
}

/// The newest events, numbered from the start of the service. The oldest are dropped as new ones come, whether or not every
/// client has read them.
#[derive(Debug)]
pub(super) struct Feed {
    kept: RwLock<Kept>,
    max_bytes: usize,
    /// The number of the next event.
    end: watch::Sender<u64>,
    /// Notified when the first listener joins.
    joined: Notify,
    /// Notified when the last listener leaves.
    deserted: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<NewEvent>>,
    bytes: usize,
    start: u64,
    listeners: usize,
    /// Whether the archive is being read. It is not while there are no listeners.
    awake: bool,
}

impl Feed {
    /// Creates a feed that keeps at most this many bytes.
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: RwLock::default(),
            max_bytes,
            end: watch::Sender::new(0),
            joined: Notify::new(),
            deserted: Notify::new(),
        })
    }

    /// Starts listening. What is stored after this returns is in the feed.
    pub(super) async fn listen(self: &Arc<Self>) -> Listener {
        let mut end = self.end.subscribe();
        let asleep = {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.listeners += 1;
            !kept.awake
        };
        let listener = Listener { feed: self.clone(), end: self.end.subscribe() };
        if asleep {
            self.joined.notify_one();
            while !self.kept.read().unwrap_or_else(PoisonError::into_inner).awake && end.changed().await.is_ok() {}
        }
        listener
    }

    /// Reads the archive while there are listeners, until the future is dropped.
    pub(super) async fn run(&self, archive: &dyn EventStore) {
        let mut new = archive.new_events();
        loop {
            if self.sleeps() {
                self.joined.notified().await;
            }
            let after = loop {
                match archive.last_stored().await {
                    Ok(last) => break last,
                    Err(error) => pause(&error).await,
                }
            };
            self.wake();
            self.follow(archive, &mut new, after).await;
        }
    }

    /// Reads the archive from a number on until there are no listeners.
    async fn follow(&self, archive: &dyn EventStore, new: &mut NewEvents, mut after: i64) {
        while !self.sleeps() {
            match self.read(archive, after).await {
                Ok(Some((last, full))) => {
                    after = last;
                    if full {
                        continue;
                    }
                }
                Ok(None) => {}
                // Events that could not be checked are not sent; they are read again.
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            }
            sleep(PACE).await;
            tokio::select! {
                () = new.wait() => {}
                () = self.deserted.notified() => {}
            }
        }
    }

    /// Reads one page; returns its last number and whether more may follow, or `None` if there was nothing.
    async fn read(&self, archive: &dyn EventStore, after: i64) -> Result<Option<(i64, bool)>, StorageError> {
        let page = archive.stored_after(after, PAGE as i64).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        let (last, full) = (*last, page.len() == PAGE);
        let ids: Vec<EventId> = page.iter().map(|(_, event)| event.id).collect();
        // On the main server: a replica may not have them yet.
        let seen = archive.ids(&Filter::new().ids(ids), view()).await?;
        let seen: HashSet<EventId> = seen.into_iter().map(|(id, _)| id).collect();
        self.push(page.into_iter().map(|(_, event)| event).filter(|event| seen.contains(&event.id)));
        Ok(Some((last, full)))
    }

    fn push(&self, events: impl Iterator<Item = Event>) {
        let new: Vec<Arc<NewEvent>> = events.map(|event| Arc::new(NewEvent::new(event))).collect();
        let end = {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            for one in new {
                kept.bytes += one.bytes();
                kept.events.push_back(one);
            }
            while kept.bytes > self.max_bytes || kept.events.len() > MAX_EVENTS {
                let Some(oldest) = kept.events.pop_front() else { break };
                kept.bytes -= oldest.bytes();
                kept.start += 1;
            }
            kept.start + kept.events.len() as u64
        };
        self.end.send_if_modified(|known| std::mem::replace(known, end) != end);
    }

    /// Returns true if there are no listeners; then the events are dropped.
    fn sleeps(&self) -> bool {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.listeners == 0 {
            kept.awake = false;
            kept.start += kept.events.len() as u64;
            kept.events = VecDeque::new();
            kept.bytes = 0;
        }
        !kept.awake
    }

    fn wake(&self) {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).awake = true;
        self.end.send_modify(|_| ());
    }
}

async fn pause(error: &StorageError) {
    tracing::warn!(%error, "failed to read what the archive took in: live subscriptions wait");
    sleep(RETRY).await;
}

/// What a read of the feed returned.
pub(super) enum Batch {
    /// Some events, and the number to continue from.
    Events(Vec<Arc<NewEvent>>, u64),
    /// What was to be read next is no longer kept.
    Lost,
}

/// A client's position in the feed.
pub(super) struct Listener {
    feed: Arc<Feed>,
    end: watch::Receiver<u64>,
}

impl Listener {
    /// The number of the next event.
    pub(super) fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Waits for events after those that [`Listener::end`] last saw here.
    pub(super) async fn changed(&mut self) {
        if self.end.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns what came in from a number on.
    pub(super) fn read(&self, from: u64) -> Batch {
        let kept = self.feed.kept.read().unwrap_or_else(PoisonError::into_inner);
        let Some(skipped) = from.checked_sub(kept.start) else { return Batch::Lost };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(kept.events.len());
        let mut bytes = 0;
        let events = kept.events.range(skipped..).take(BATCH).take_while(|new| {
            let first = bytes == 0;
            bytes += new.json.len();
            first || bytes <= BATCH_BYTES
        });
        let events: Vec<_> = events.cloned().collect();
        let next = from + events.len() as u64;
        Batch::Events(events, next)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut kept = self.feed.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.listeners -= 1;
        if kept.listeners == 0 {
            self.feed.deserted.notify_one();
        }
    }
}
