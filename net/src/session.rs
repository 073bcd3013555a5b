//! A NIP-01 session with one relay that reports how each request ended.
//!
//! The end matters more than the events: only [`End::Eose`] proves anything about what a relay holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use brotr_core::{RawEvent, RelayUrl, sanitize};
use futures::{SinkExt, StreamExt};
use nostr::Filter;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::message::{Count, RelayMessage, parse};
use crate::page::{End, Hints, Page, Verdict};
use crate::shared::Turn;
use crate::socket::{Connection, Socket};
use crate::{DialError, Dialer, Purpose, Trace};

/// A page is cut off at this many times the requested number of events,
const SURPLUS: usize = 4;
/// or at this many bytes.
const MAX_PAGE: u64 = 16 << 20;
/// A larger answer, in bytes, waits for a permit to grow, and its socket with it: only a few answers at a time are large.
pub(crate) const SMALL: u64 = 256 << 10;
/// A NOTICE with nothing after it ends a request after this time: some relays refuse only in this way.
pub(crate) const NOTICE_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of the pong that shows that nothing follows an EOSE.
const FENCE: Duration = Duration::from_secs(2);
/// How long an empty answer must be followed by silence.
const SILENCE: Duration = Duration::from_millis(300);
/// Events after EOSE that are kept for the next page; further ones are requested again.
const MAX_LATE: usize = 500;
/// Timeout of a closing message.
const CLOSING: Duration = Duration::from_secs(1);
/// A request may take this many times its idle limit, however steadily events arrive.
pub(crate) const STEADY: u32 = 10;
/// The same for a large answer, for which others wait.
const LARGE_STEADY: u32 = 2;

/// An open session. Dropping it disconnects.
pub struct Session {
    pub(crate) connection: Connection,
    idle: Duration,
    subscriptions: u64,
    /// Bytes of text received.
    received: u64,
    /// Bytes of text sent.
    sent: u64,
    large: Arc<Semaphore>,
    /// The relay's challenge (NIP-42).
    challenge: Option<String>,
    /// The last subscription that ended with EOSE.
    ended: String,
    /// Events received for it afterwards and not yet reported.
    late: Vec<RawEvent>,
    /// A request that was sent before the previous answer ended,
    pub(crate) ahead: Option<String>,
    /// messages that arrived for it meanwhile,
    early: VecDeque<Utf8Bytes>,
    /// and the permit to keep them in memory, if they are large.
    early_room: Option<OwnedSemaphorePermit>,
    /// The turn on a shared connection, while a request is under way,
    pub(crate) turn: Option<Turn>,
    /// or until the session ends.
    pub(crate) keeps_turn: bool,
}

impl Session {
    /// Connects to a relay.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn open(dialer: &Dialer, address: &RelayUrl, purpose: Purpose) -> Result<Self, DialError> {
        Ok(Self::of(dialer, address, dialer.dial(address, purpose).await?))
    }

    /// The same for a visit, recording what is seen on the way.
    ///
    /// # Errors
    /// See [`DialError`]; what was seen before the failure is in the trace.
    pub async fn open_traced(dialer: &Dialer, address: &RelayUrl, trace: &mut Trace) -> Result<Self, DialError> {
        Ok(Self::of(dialer, address, dialer.dial_traced(address, Purpose::Visit, trace).await?))
    }

    pub(crate) fn of(dialer: &Dialer, address: &RelayUrl, connection: Connection) -> Self {
        let idle = dialer.limits(address.network()).request_timeout;
        Self {
            connection,
            idle,
            subscriptions: 0,
            received: 0,
            sent: 0,
            challenge: None,
            large: dialer.large(),
            ended: String::new(),
            late: Vec::new(),
            ahead: None,
            early: VecDeque::new(),
            early_room: None,
            turn: None,
            keeps_turn: false,
        }
    }

    /// Reconnects, having closed what is left of the old connection, and shares the new one with nobody. Byte counts continue, and the challenge is forgotten.
    ///
    /// # Errors
    /// See [`DialError`]; the session cannot be used until this succeeds.
    pub async fn reopen(&mut self, dialer: &Dialer, address: &RelayUrl) -> Result<(), DialError> {
        let _ = tokio::time::timeout(CLOSING, self.connection.socket.close()).await;
        // Nobody waits for this session while it connects.
        (self.turn, self.keeps_turn, self.ahead) = (None, false, None);
        self.early.clear();
        self.early_room = None;
        let connection = match self.connection.permits.take() {
            Some(permits) => dialer.redial(address, permits).await?,
            None => dialer.dial(address, Purpose::Visit).await?,
        };
        let (idle, subscriptions, received, sent) = (self.idle, self.subscriptions, self.received, self.sent);
        *self = Self { idle, subscriptions, received, sent, ..Self::of(dialer, address, connection) };
        Ok(())
    }

    /// Returns how long opening took.
    #[must_use]
    pub fn opened_in(&self) -> Duration {
        self.connection.opened_in
    }

    /// Returns the bytes of text received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns the bytes of text sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the idle limit: after this time without requested events a relay has timed out.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle
    }

    pub(crate) fn count_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Returns a name for the next subscription.
    pub(crate) fn name(&mut self) -> String {
        self.subscriptions += 1;
        match &self.connection.socket {
            Socket::Own(_) => format!("b{}", self.subscriptions),
            Socket::Shared(branch) => format!("b{}-{}", branch.id(), self.subscriptions),
        }
    }

    /// Requests stored events. Only events that match the filter count as progress; a relay that keeps the connection busy with
    /// anything else is idle.
    pub async fn request(&mut self, filter: &Filter) -> Page {
        self.forget_ahead().await;
        self.request_ahead(filter, None).await
    }

    /// Returns true if a request was sent ahead.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Abandons a request that was sent ahead.
    pub async fn forget_ahead(&mut self) {
        if let Some(id) = self.ahead.take() {
            self.early.clear();
            self.early_room = None;
            let _ = self.send(&serde_json::json!(["CLOSE", id])).await;
            self.end_turn();
        }
    }

    /// Requests stored events, and sends the request `next` before this answer ends, so that the relay is never idle. After the
    /// first call, each filter must be the one that was given as `next`.
    ///
    /// If `next` is given, nothing is awaited after EOSE: that is for filters that list ids, which show by themselves what is
    /// missing.
    pub async fn request_ahead(&mut self, filter: &Filter, next: Option<&Filter>) -> Page {
        let buffered = std::mem::take(&mut self.early);
        let (id, mut asked) = match self.ahead.take() {
            Some(id) => (id, Ok(())),
            None => {
                let id = self.name();
                let asked = match self.take_turn().await {
                    Ok(()) => self.send(&serde_json::json!(["REQ", id, filter])).await,
                    Err(end) => Err(end),
                };
                (id, asked)
            }
        };
        let next = next.filter(|_| !self.is_awaited());
        if let (Ok(()), Some(next)) = (&asked, next) {
            let ahead = self.name();
            asked = self.send(&serde_json::json!(["REQ", ahead, next])).await;
            self.ahead = Some(ahead);
        }
        let mut page = Page {
            events: vec![],
            transferred: 0,
            outside: 0,
            in_order: true,
            late: vec![],
            took: None,
            end: End::Timeout,
            hints: Hints::default(),
            room: self.early_room.take(),
        };
        let began = Instant::now();
        page.end = match asked {
            Ok(()) => self.read_page(&mut page, &id, filter, buffered).await,
            Err(end) => end,
        };
        if !matches!(page.end, End::Closed(_) | End::Disconnect(_)) {
            let _ = self.send(&serde_json::json!(["CLOSE", id])).await;
        }
        if page.end == End::Eose {
            page.took = Some(began.elapsed());
            self.ended = id;
            let empty = page.transferred == 0;
            // The pong would come behind the answer to the request that was sent ahead.
            if self.ahead.is_none() && !self.fence(empty).await && empty {
                page.end = End::Timeout;
            }
        }
        if self.is_awaited() {
            self.forget_ahead().await;
        }
        if self.early.iter().map(|text| text.len() as u64).sum::<u64>() > SMALL {
            self.early_room = page.room.take();
        }
        page.late = std::mem::take(&mut self.late);
        self.end_turn();
        page
    }

    /// Reads the answer to the request `id` into a page, first from the messages that arrived before it was read. Returns how it
    /// ended.
    async fn read_page(
        &mut self,
        page: &mut Page,
        id: &str,
        filter: &Filter,
        mut buffered: VecDeque<Utf8Bytes>,
    ) -> End {
        let most = filter.limit.unwrap_or(500).saturating_mul(SURPLUS).max(1_000);
        let early: u64 = buffered.iter().map(|text| text.len() as u64).sum();
        let (began, received) = (Instant::now(), self.received);
        let (mut idle_at, mut stop_at) = (began + self.idle, began + self.idle * STEADY);
        // Events of requests that were cut off before; a relay that continues with those never gets to this one.
        let mut strays = 0;
        let mut notice: Option<String> = None;
        loop {
            let text = match buffered.pop_front() {
                Some(text) => text,
                None => match timeout_at(idle_at.min(stop_at), self.recv()).await {
                    Ok(Ok(text)) => text,
                    Ok(Err(end)) => return end,
                    Err(_) => return notice.map_or(End::Timeout, End::Notice),
                },
            };
            // Whatever the messages are, and whichever request they belong to: an endless answer is cut off.
            let size = early + self.received - received;
            if size > SMALL && page.room.is_none() {
                let began = Instant::now();
                page.room = match self.is_shared() {
                    false => self.large.clone().acquire_owned().await.ok(),
                    // Others would wait as well.
                    true => match self.large.clone().try_acquire_owned() {
                        Ok(room) => Some(room),
                        Err(_) => return End::Disconnect("too many large answers for a shared connection".to_owned()),
                    },
                };
                // The relay did not make us wait; now others wait for it, and it may not use all its time.
                idle_at += began.elapsed();
                stop_at = (stop_at + began.elapsed()).min(Instant::now() + self.idle * LARGE_STEADY);
            }
            if size > MAX_PAGE {
                return End::Overflow;
            }
            match parse(&text) {
                RelayMessage::Event(sub, _) | RelayMessage::Eose(sub, _) | RelayMessage::Closed(sub, _)
                    if self.ahead.as_deref() == Some(sub.as_ref()) =>
                {
                    self.early.push_back(text.clone());
                }
                RelayMessage::Event(sub, json) if sub == id => {
                    if page.take(json, filter) {
                        idle_at = Instant::now() + self.idle;
                    }
                    if page.transferred >= most {
                        return End::Overflow;
                    }
                }
                RelayMessage::Event(sub, json) => {
                    self.keep_late(&sub, json);
                    strays += 1;
                    if strays >= most {
                        return End::Overflow;
                    }
                }
                RelayMessage::Eose(sub, hints) if sub == id => {
                    page.hints = hints;
                    return End::Eose;
                }
                RelayMessage::Closed(sub, reason) if sub == id => return End::Closed(reason),
                RelayMessage::Notice(text) => {
                    if page.transferred == 0 && notice.is_none() {
                        idle_at = idle_at.min(Instant::now() + NOTICE_TIMEOUT);
                    }
                    notice = Some(sanitize(&text));
                }
                _ => {}
            }
        }
    }

    /// Requests a count (NIP-45).
    ///
    /// # Errors
    /// How the request ended without a number.
    pub async fn count(&mut self, filter: &Filter) -> Result<Count, End> {
        self.take_turn().await?;
        let counted = self.read_count(filter).await;
        self.end_turn();
        counted
    }

    async fn read_count(&mut self, filter: &Filter) -> Result<Count, End> {
        let id = self.name();
        self.send(&serde_json::json!(["COUNT", id, filter])).await?;
        let mut until = Instant::now() + self.idle;
        let mut notice = None;
        loop {
            let text = match timeout_at(until, self.recv()).await {
                Ok(text) => text?,
                Err(_) => return Err(notice.map_or(End::Timeout, End::Notice)),
            };
            match parse(&text) {
                RelayMessage::Count(sub, count) if sub == id => return Ok(count),
                RelayMessage::Closed(sub, reason) if sub == id => return Err(End::Closed(reason)),
                RelayMessage::Notice(text) => {
                    until = until.min(Instant::now() + NOTICE_TIMEOUT);
                    notice = Some(sanitize(&text));
                }
                _ => {}
            }
        }
    }

    /// Returns the relay's challenge (NIP-42), if it has sent one.
    #[must_use]
    pub fn challenge(&self) -> Option<&str> {
        self.challenge.as_deref()
    }

    pub(crate) fn set_challenge(&mut self, challenge: &str) {
        self.challenge = Some(sanitize(challenge));
    }

    /// Authenticates (NIP-42), with an event of kind 22242 for the challenge.
    pub async fn authenticate(&mut self, event: &nostr::Event) -> Verdict {
        if let Err(end) = self.send(&serde_json::json!(["AUTH", event])).await {
            return Verdict::Unanswered(end);
        }
        let id = event.id.to_hex();
        let until = Instant::now() + self.idle;
        loop {
            match timeout_at(until, self.recv()).await {
                Err(_) => return Verdict::Unanswered(End::Timeout),
                Ok(Err(end)) => return Verdict::Unanswered(end),
                Ok(Ok(text)) => {
                    if let RelayMessage::Ok(about, accepted, reason) = parse(&text)
                        && about == id
                    {
                        return if accepted { Verdict::Accepted } else { Verdict::Refused(sanitize(&reason)) };
                    }
                }
            }
        }
    }

    /// Sets the idle limit of this session.
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// Closes the connection as the protocol specifies, without waiting for a relay that does not.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(CLOSING, self.connection.socket.close()).await;
    }

    /// Sends a ping after EOSE: a relay that sends EOSE before its events would look empty. What it sent before it saw the ping
    /// arrives before the pong, so the ping reveals such events for one round trip. Returns true if the pong came.
    ///
    /// A page without any event claims most, so its pong must be followed by a moment of silence.
    async fn fence(&mut self, empty: bool) -> bool {
        let mut until = Instant::now() + FENCE.min(self.idle);
        let mark = self.ended.clone().into_bytes();
        if self.send_message(Message::Ping(mark.clone().into())).await.is_err() {
            return false;
        }
        let mut pong = false;
        while let Ok(Some(Ok(message))) = timeout_at(until, self.connection.socket.next()).await {
            match message {
                Message::Pong(payload) if *payload == *mark => {
                    pong = true;
                    if !empty {
                        break;
                    }
                    until = Instant::now() + SILENCE;
                }
                Message::Text(text) => {
                    self.received += text.len() as u64;
                    if let RelayMessage::Event(sub, json) = parse(&text) {
                        self.keep_late(&sub, json);
                    }
                }
                _ => {}
            }
        }
        pong
    }

    fn keep_late(&mut self, subscription: &str, json: &RawValue) {
        if subscription == self.ended && self.late.len() < MAX_LATE {
            self.late.extend(RawEvent::from_json(json.get()).ok());
        }
    }

    pub(crate) async fn send(&mut self, message: &serde_json::Value) -> Result<(), End> {
        let text = message.to_string();
        self.sent += text.len() as u64;
        self.send_message(Message::text(text)).await
    }

    pub(crate) async fn send_message(&mut self, message: Message) -> Result<(), End> {
        let send = self.connection.socket.send(message);
        match tokio::time::timeout(self.idle, send).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Disconnect(error.to_string())),
            Err(_) => Err(End::Timeout),
        }
    }

    /// Returns the next text message; pings are answered by the library, and binary frames are not part of Nostr.
    pub(crate) async fn recv(&mut self) -> Result<Utf8Bytes, End> {
        loop {
            match self.connection.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    self.received += text.len() as u64;
                    // Only messages like this can be a challenge; these are parsed twice.
                    if text.get(..12).is_some_and(|head| head.contains("AUTH"))
                        && let RelayMessage::Auth(challenge) = parse(&text)
                    {
                        self.set_challenge(&challenge);
                    }
                    return Ok(text);
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|f| f.reason.to_string()).filter(|r| !r.is_empty());
                    return Err(End::Disconnect(sanitize(reason.as_deref().unwrap_or("closed by the relay"))));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(End::Disconnect(error.to_string())),
                None => return Err(End::Disconnect("closed by the relay".into())),
            }
        }
    }
}
