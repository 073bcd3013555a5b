//! The answer to a request, and how it ended.

use std::time::Duration;

use brotr_core::RawEvent;
use nostr::Filter;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// EOSE: there are no more events.
    Eose,
    /// CLOSED, with the relay's reason.
    Closed(String),
    /// A NOTICE, and then nothing.
    Notice(String),
    /// Nothing more within the time limit; or EOSE without an event, and no pong after it to show that none follows.
    Timeout,
    /// The connection ended.
    Disconnect(String),
    /// Far more than was requested, in events or bytes.
    Overflow,
}

/// What a relay says of an answer with its EOSE (NIP-67). The absence of a hint says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// Every stored event that matches was sent.
    pub finish: bool,
    /// Further stored events match.
    pub more: bool,
    /// There may be more after authentication (NIP-42).
    pub auth: bool,
}

impl Hints {
    /// Parses the third element of EOSE: an array of strings, or, as in earlier drafts, a string. What is neither, and what is
    /// unknown, says nothing.
    pub(crate) fn parse(json: &str) -> Self {
        let words: Vec<Value> = match serde_json::from_str(json) {
            Ok(Value::Array(words)) => words,
            Ok(Value::String(text)) => text.split(',').map(|word| word.trim().into()).collect(),
            _ => vec![],
        };
        let has = |word: &str| words.iter().any(|one| one == word);
        Self { finish: has("finish"), more: has("more"), auth: has("auth") }
    }

    /// Returns true if the relay says that nothing is left, and does not contradict itself.
    #[must_use]
    pub fn is_finished(self) -> bool {
        self.finish && !self.more
    }

    /// Returns true if the relay says anything.
    #[must_use]
    pub fn any(self) -> bool {
        self.finish || self.more || self.auth
    }
}

/// The answer to one REQ.
#[derive(Debug)]
pub struct Page {
    /// Events that match the filter; not yet verified.
    pub events: Vec<RawEvent>,
    /// EVENT messages, including invalid ones.
    pub transferred: usize,
    /// Events that the filter excludes.
    pub outside: usize,
    /// Whether `created_at` never rises from one event to the next.
    pub in_order: bool,
    /// Well-formed events that came after EOSE, for this or the previous request: new ones of a live subscription, or a sign of
    /// a relay that sends EOSE first.
    pub late: Vec<RawEvent>,
    /// From the request to EOSE, if it came.
    pub took: Option<Duration>,
    /// How it ended.
    pub end: End,
    /// What the relay said with EOSE.
    pub hints: Hints,
    /// The permit to be large, released when the page is dropped.
    pub room: Option<OwnedSemaphorePermit>,
}

impl Page {
    /// Takes an event of the answer. Returns true if it matches the filter.
    pub(crate) fn take(&mut self, json: &RawValue, filter: &Filter) -> bool {
        self.transferred += 1;
        let event = RawEvent::from_json(json.get());
        match event.and_then(|event| Ok((event.matches(filter)?, event))) {
            Ok((true, event)) => {
                self.in_order &= self.events.last().is_none_or(|last| last.created_at >= event.created_at);
                self.events.push(event);
                true
            }
            Ok((false, _)) => {
                self.outside += 1;
                false
            }
            Err(_) => false,
        }
    }
}

/// A relay's answer to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// OK true.
    Accepted,
    /// OK false, with its reason.
    Refused(String),
    /// No OK.
    Unanswered(End),
}
