//! The stored events that a REQ asks for, read page by page as the client takes them.
//!
//! The pages of its filters are merged, so that events come newest first over all of them and each once. A page that waits
//! for a slow client is dropped and read again: what remains of it is where to go on.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use brotr_storage::{Archive, Cursor, Event, View};
use nostr::{EventId, Filter};

use super::budget::{Account, Held, Use};
use super::{MAX_LIMIT, PATIENCE, query, view};

/// What one answer reads ahead, in bytes, over all its filters.
const READ_AHEAD: usize = 512 << 10;
/// What an event is taken to weigh until the first were read, in bytes.
const USUAL_EVENT: usize = 16 << 10;

/// The place of an event in an answer: newest first, lowest id first within a second.
type Place = (Reverse<i64>, EventId);

fn place(event: &Event) -> Place {
    (Reverse(event.created_at), event.id)
}

/// What an event takes in memory, about.
pub(super) fn weight(event: &Event) -> usize {
    let tag = |tag: &Vec<String>| tag.iter().map(|value| value.len() + 32).sum::<usize>() + 32;
    event.content.len() + event.tags.iter().map(tag).sum::<usize>() + 256
}

/// The stored events that some filters ask for, each filter up to its limit.
pub(super) struct Answer {
    parts: Vec<Part>,
    view: View,
    /// The place of the last event that was given.
    last: Option<Place>,
    /// What events weigh, by the page read last.
    usual: usize,
}

/// The events of one filter.
struct Part {
    filter: Filter,
    /// How many more events it may give.
    left: usize,
    after: Option<Cursor>,
    /// The place of its next event, kept when the event itself is not.
    next: Option<Place>,
    page: VecDeque<Event>,
    held: Option<Held>,
    /// Whether nothing follows the page.
    ended: bool,
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
        };
        Self { parts: filters.iter().map(part).collect(), view: view(), last: None, usual: USUAL_EVENT }
    }

    /// Drops what was read ahead. It is read again when it is needed.
    pub(super) fn park(&mut self) {
        self.parts.iter_mut().for_each(Part::park);
    }

    /// Returns the next event, or nothing after the last.
    ///
    /// # Errors
    /// In words for the client.
    pub(super) async fn next(&mut self, archive: &dyn Archive, account: &Arc<Account>) -> Result<Option<Event>, String> {
        loop {
            while let Some(n) = self.parts.iter().position(|part| part.next.is_none() && !part.is_done()) {
                self.read(n, archive, account).await?;
            }
            let open = self.parts.iter().enumerate().filter(|(_, part)| !part.is_done());
            let first = open.filter_map(|(n, part)| Some((part.next?, n))).min();
            let Some((_, n)) = first else { return Ok(None) };
            if self.parts[n].page.is_empty() {
                // It was parked. What comes now may be another event, if that one is no longer there.
                self.read(n, archive, account).await?;
                continue;
            }
            let event = self.parts[n].take();
            // Another filter may have given it already.
            if let Some(event) = event.filter(|event| self.last < Some(place(event))) {
                self.last = Some(place(&event));
                return Ok(Some(event));
            }
        }
    }

    /// Reads the next page of a part, as far as the budget allows.
    async fn read(&mut self, n: usize, archive: &dyn Archive, account: &Arc<Account>) -> Result<(), String> {
        let share = READ_AHEAD / self.parts.iter().filter(|part| !part.is_done()).count().max(1);
        let asked = (share / self.usual).clamp(1, self.parts[n].left);
        let held = match account.try_hold(asked * self.usual, Use::Answer) {
            Some(held) => Some(held),
            None => {
                // Who waits holds nothing, or all could wait for each other.
                self.park();
                account.hold(asked * self.usual, PATIENCE).await
            }
        };
        let mut held = held.ok_or("error: the relay is short of memory: try again later")?;
        let part = &mut self.parts[n];
        let mut page: VecDeque<Event> = query(archive.page(&part.filter, self.view, part.after, asked)).await?.into();
        let full = page.len() == asked;
        let mut bytes: usize = page.iter().map(weight).sum();
        if !page.is_empty() {
            self.usual = (bytes / page.len()).max(256);
        }
        let read = page.len();
        while page.len() > 1 && (bytes > share || !held.try_resize(bytes)) {
            bytes -= page.pop_back().map_or(0, |event| weight(&event));
        }
        // One event is given whatever it weighs.
        held.try_resize(bytes);
        part.ended = !full && page.len() == read;
        part.next = page.front().map(place);
        part.held = (!page.is_empty()).then_some(held);
        part.page = page;
        Ok(())
    }
}
