//! The stored events that match a REQ, read page by page as the client takes them.
//!
//! The pages of its filters are merged, so that events come newest first over all of them and each once. A page that waits for
//! a slow client is dropped and read again later from its position.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use brotr_core::Event;
use brotr_storage::{Cursor, EventStore, View};
use nostr::{EventId, Filter};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::budget::{Account, Held, Use};
use super::{MAX_LIMIT, QUERY_TIMEOUT, query, view};

/// What one answer reads ahead, in bytes, over all its filters.
const READ_AHEAD: usize = 512 << 10;
/// The assumed size of an event before the first were read, in bytes.
const USUAL_EVENT: usize = 16 << 10;

/// Reads of one answer that need no turn; further ones take turns.
const FREE_READS: u32 = 8;

/// What answers are read from.
pub(super) struct Source {
    pub(super) archive: Arc<dyn EventStore>,
    /// Turns of answers that need many reads, so that others do not queue behind them.
    turns: Semaphore,
}

impl Source {
    /// Fewer turns than the archive has connections for clients.
    const TURNS: usize = 2;

    pub(super) fn new(archive: Arc<dyn EventStore>) -> Self {
        Self { archive, turns: Semaphore::new(Self::TURNS) }
    }
}

/// The position of an event in an answer: newest first, lowest id first within a second.
type Place = (Reverse<i64>, EventId);

fn place(event: &Event) -> Place {
    (Reverse(event.created_at), event.id)
}

/// Returns the approximate size of an event in memory, in bytes.
pub(super) fn weight(event: &Event) -> usize {
    let tag = |tag: &Vec<String>| tag.iter().map(|value| value.len() + 32).sum::<usize>() + 32;
    event.content.len() + event.tags.iter().map(tag).sum::<usize>() + 256
}

/// The stored events that match some filters, each filter up to its limit.
pub(super) struct Answer {
    parts: Vec<Part>,
    view: View,
    /// The position of the last event that was returned.
    last: Option<Place>,
    /// How many events of a filter are read at a time: few for a slow client.
    ahead: usize,
    reads: u32,
}

/// The events of one filter.
struct Part {
    filter: Filter,
    /// How many more events it may return.
    left: usize,
    after: Option<Cursor>,
    /// The position of its next event, kept when the event itself is not.
    next: Option<Place>,
    page: VecDeque<Event>,
    held: Option<Held>,
    /// Whether nothing follows the page.
    ended: bool,
    /// Whether events follow that the limit leaves out; `None` while that is not known.
    clipped: Option<bool>,
    /// The mean size of its events, by the page read last.
    usual: usize,
    /// The most events read at a time: the archive bounds a page by number only, so a page grows as its events turn out to be
    /// small.
    most: usize,
}

impl Part {
    fn is_done(&self) -> bool {
        self.left == 0 || self.ended && self.page.is_empty()
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.page.pop_front()?;
        self.after = Some(Cursor { created_at: event.created_at, id: event.id });
        self.left -= 1;
        self.next = self.page.front().map(place);
        if self.is_done() {
            self.page.clear();
        }
        if self.page.is_empty() {
            self.held = None;
        }
        Some(event)
    }

    fn park(&mut self) {
        if !self.page.is_empty() {
            self.page = VecDeque::new();
            self.ended = false;
        }
        self.held = None;
    }
}

impl Answer {
    pub(super) fn new(filters: &[Filter]) -> Self {
        let part = |filter: &Filter| Part {
            left: filter.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT),
            filter: filter.clone(),
            after: None,
            next: None,
            page: VecDeque::new(),
            held: None,
            ended: false,
            clipped: None,
            usual: USUAL_EVENT,
            most: READ_AHEAD / USUAL_EVENT,
        };
        Self { parts: filters.iter().map(part).collect(), view: view(), last: None, ahead: MAX_LIMIT, reads: 0 }
    }

    /// Drops what was read ahead. It is read again when needed.
    pub(super) fn park(&mut self) {
        self.parts.iter_mut().for_each(Part::park);
    }

    /// The same, for a slow client: from now on less is read ahead for it.
    pub(super) fn slow_down(&mut self) {
        self.park();
        self.ahead = 1;
    }

    /// Returns the next event; `None` after the last.
    ///
    /// # Errors
    /// A message for the client.
    pub(super) async fn next(&mut self, source: &Source, account: &Arc<Account>) -> Result<Option<Event>, String> {
        loop {
            while let Some(n) = self.parts.iter().position(|part| part.next.is_none() && !part.is_done()) {
                self.read(n, source, account).await?;
            }
            let open = self.parts.iter().enumerate().filter(|(_, part)| !part.is_done());
            let first = open.filter_map(|(n, part)| Some((part.next?, n))).min();
            let Some((_, n)) = first else { return Ok(None) };
            if self.parts[n].page.is_empty() {
                // It was parked. The next event may be another one, if that one was removed.
                self.read(n, source, account).await?;
                continue;
            }
            let event = self.parts[n].take();
            // Another filter may have returned it already.
            if let Some(event) = event.filter(|event| self.last < Some(place(event))) {
                self.last = Some(place(&event));
                return Ok(Some(event));
            }
        }
    }

    /// Returns the hint that goes with EOSE (NIP-67), once all events were returned: `finish` if no filter has more, `more` if any
    /// has, or none if that is not known.
    pub(super) fn hint(&self) -> Option<&'static str> {
        let clipped = |wanted| move |part: &Part| part.clipped == Some(wanted);
        if self.parts.iter().any(clipped(true)) {
            return Some("more");
        }
        self.parts.iter().all(clipped(false)).then_some("finish")
    }

    /// Waits for memory, and after several reads for a turn, until both are available. Nothing is held while waiting, so that
    /// answers cannot deadlock.
    async fn place<'s>(
        &mut self,
        source: &'s Source,
        account: &Arc<Account>,
        bytes: usize,
    ) -> Result<(Option<SemaphorePermit<'s>>, Held), String> {
        let until = Instant::now() + QUERY_TIMEOUT * 2;
        while Instant::now() < until {
            let held = match account.try_hold(bytes, Use::Answer) {
                Some(held) => held,
                None => {
                    self.park();
                    let held = account.hold(bytes, QUERY_TIMEOUT).await;
                    held.ok_or("error: the relay is short of memory: try again later")?
                }
            };
            if self.reads <= FREE_READS {
                return Ok((None, held));
            }
            if let Ok(turn) = source.turns.try_acquire() {
                return Ok((Some(turn), held));
            }
            drop(held);
            self.park();
            let Ok(Ok(turn)) = timeout(QUERY_TIMEOUT * 2, source.turns.acquire()).await else { break };
            if let Some(held) = account.try_hold(bytes, Use::Answer) {
                return Ok((Some(turn), held));
            }
        }
        Err("error: too many ask at once: try again later".into())
    }

    /// Reads the next page of a part, as far as the budget allows.
    async fn read(&mut self, n: usize, source: &Source, account: &Arc<Account>) -> Result<(), String> {
        let share = READ_AHEAD / self.parts.iter().filter(|part| !part.is_done()).count().max(1);
        let Part { usual, most, left, .. } = self.parts[n];
        let asked = (share / usual).min(self.ahead).min(most).clamp(1, left);
        self.ahead = (self.ahead * 2).min(MAX_LIMIT);
        self.reads += 1;
        // One more than the limit shows whether it leaves any out.
        let probe = usize::from(asked == left);
        let (_turn, mut held) = self.place(source, account, asked * usual).await?;
        let part = &mut self.parts[n];
        let mut page: VecDeque<Event> =
            query(source.archive.page(&part.filter, self.view, part.after, asked + probe)).await?.into();
        let full = page.len() == asked + probe;
        if full && probe > 0 {
            page.pop_back();
        }
        let mut bytes: usize = page.iter().map(weight).sum();
        if !page.is_empty() {
            part.usual = (bytes / page.len()).max(256);
            part.most = (part.most * 2).min(MAX_LIMIT);
        }
        let read = page.len();
        while page.len() > 1 && (bytes > share || !held.try_resize(bytes)) {
            bytes -= page.pop_back().map_or(0, |event| weight(&event));
        }
        // One event is returned whatever its size.
        held.try_resize(bytes);
        part.ended = !full && page.len() == read;
        part.clipped = if part.ended { Some(false) } else { (full && probe > 0 && page.len() == read).then_some(true) };
        part.next = page.front().map(place);
        part.held = (!page.is_empty()).then_some(held);
        part.page = page;
        Ok(())
    }
}
