//! The task that reads and writes a shared connection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{Command, Item, Party, ROOM, Shared};
use crate::message::{Asked, RelayMessage, asked, parse};
use crate::permits::Permits;
use crate::stream::Stream;

/// A party is cut off when the others have waited for it for this long: there is no room for its messages, and it does not read.
const UNREAD: Duration = Duration::from_secs(10);
/// Others do not notice a wait of less than this.
const HELD_UP: Duration = Duration::from_millis(5);
/// The connection is closed after this many messages in a row that nobody has asked for,
const UNASKED: usize = 1_000;
/// or this many bytes of them,
const UNASKED_BYTES: usize = 16 << 20;
/// or this many if a party had asked for them that has left: relays may send a whole answer before they see a CLOSE;
const UNREAD_BYTES: usize = 256 << 20;
/// within this time. Pings, notices and pongs come now and then on a quiet connection.
const UNASKED_IN: Duration = Duration::from_secs(60);
/// The longest challenge (NIP-42) that is passed on, in bytes.
const CHALLENGE: usize = 4 << 10;
/// A relay that takes no message for this long is disconnected.
const UNSENT: Duration = Duration::from_secs(20);
/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(1);
/// Requests that have ended and are still known, for what arrives late; and events that were sent, for their OK.
const ENDED: usize = 256;
/// Pings whose pongs are awaited.
const PINGS: usize = 16;

/// The driver's end of a branch.
pub(super) struct Listener {
    party: Party,
    messages: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    cut_off: Arc<AtomicBool>,
    /// How long the others have waited for it, without a message in between for which they did not.
    waited: Duration,
}

impl Listener {
    pub(super) fn new(
        party: Party,
        messages: mpsc::Sender<Item>,
        room: Arc<Semaphore>,
        cut_off: Arc<AtomicBool>,
    ) -> Self {
        Self { party, messages, room, cut_off, waited: Duration::ZERO }
    }

    /// Delivers a message once there is room for it; returns false if the party does not read, or has left.
    async fn deliver(&mut self, message: Message) -> bool {
        let began = Instant::now();
        let delivered = async {
            let room = self.room.clone().acquire_many_owned(size(&message)).await.ok();
            self.messages.send((Ok(message), room)).await.is_ok()
        };
        let delivered = timeout(UNREAD.saturating_sub(self.waited), delivered).await.unwrap_or(false);
        let waited = began.elapsed();
        // A party that reads a message now and then holds up the others as well.
        self.waited = if waited < HELD_UP { Duration::ZERO } else { self.waited + waited };
        delivered
    }

    /// Delivers a message if there is room for it.
    fn offer(&self, message: Message) {
        if let Ok(room) = self.room.clone().try_acquire_many_owned(size(&message)) {
            let _ = self.messages.try_send((Ok(message), Some(room)));
        }
    }
}

/// Returns the size of a message in KiB, or all the room that there is.
fn size(message: &Message) -> u32 {
    u32::try_from(message.len().div_ceil(1_024)).unwrap_or(ROOM).clamp(1, ROOM)
}

/// A request under way, or one that ended a short time ago.
struct Request {
    /// The branch that sent it.
    by: u64,
    asked: Asked,
    is_open: bool,
}

/// Messages in a row that nobody has asked for.
struct Unasked {
    since: Instant,
    messages: usize,
    bytes: usize,
}

impl Unasked {
    fn new() -> Self {
        Self { since: Instant::now(), messages: 0, bytes: 0 }
    }

    /// Counts one more; returns true if they are a flood. `asked_before` says whether it answers a party that has left.
    fn add(&mut self, bytes: usize, asked_before: bool) -> bool {
        if self.since.elapsed() >= UNASKED_IN {
            *self = Self::new();
        }
        (self.messages, self.bytes) = (self.messages + usize::from(!asked_before), self.bytes + bytes);
        self.messages >= UNASKED || self.bytes >= if asked_before { UNREAD_BYTES } else { UNASKED_BYTES }
    }
}

pub(super) struct Driver {
    socket: Box<WebSocketStream<Box<dyn Stream>>>,
    listeners: HashMap<u64, Listener>,
    /// By subscription or event id.
    requests: HashMap<String, Request>,
    ended: VecDeque<String>,
    pings: VecDeque<(Bytes, u64)>,
    /// The relay's last challenge (NIP-42), for those who join later.
    challenge: Option<Message>,
    logged_in: Arc<AtomicBool>,
    logs_in: Arc<AtomicBool>,
    unasked: Unasked,
    /// Whether a session opened the connection: then the client leaves with the last session, since the permits are for that.
    is_of_sessions: bool,
    /// Waits for parties that did not read.
    held_up: Arc<AtomicU64>,
    /// The branch whose turn it is: what the relay says without naming a request is about its requests.
    holder: Arc<AtomicU64>,
    _permits: Permits,
}

impl Driver {
    pub(super) fn new(
        shared: &Shared,
        logs_in: Arc<AtomicBool>,
        socket: Box<WebSocketStream<Box<dyn Stream>>>,
        permits: Permits,
        first: (u64, Listener),
    ) -> Self {
        Self {
            socket,
            requests: HashMap::new(),
            ended: VecDeque::new(),
            pings: VecDeque::new(),
            challenge: None,
            logged_in: shared.logged_in.clone(),
            logs_in,
            unasked: Unasked::new(),
            is_of_sessions: matches!(first.1.party, Party::Session(_)),
            held_up: shared.held_up.clone(),
            holder: shared.holder.clone(),
            listeners: HashMap::from([first]),
            _permits: permits,
        }
    }

    /// Runs until the relay disconnects or the last branch has left.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let end: Result<Message, String> = loop {
            let went_on = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break Ok(Message::Close(None)),
                },
                message = self.socket.next() => match message {
                    Some(Ok(Message::Close(frame))) => break Ok(Message::Close(frame)),
                    Some(Ok(message)) => self.pass_on(message).await,
                    Some(Err(error)) => break Err(error.to_string()),
                    None => break Ok(Message::Close(None)),
                },
            };
            if let Err(error) = went_on {
                break Err(error);
            }
        };
        for listener in self.listeners.values() {
            let _ = listener.messages.try_send((end.clone(), None));
        }
        self.listeners.clear();
        drop(commands);
        let _ = timeout(CLOSING, self.socket.close()).await;
    }

    async fn obey(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Join(id, listener) => {
                if self.logged_in.load(Ordering::Relaxed) && listener.party == Party::Session(false) {
                    // A party has authenticated while it joined.
                    listener.cut_off.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                if let Some(challenge) = self.challenge.clone() {
                    listener.offer(challenge);
                }
                self.listeners.insert(id, listener);
            }
            Command::Leave(id) => self.remove(id).await?,
            // It was cut off.
            Command::Send(id, _) if !self.listeners.contains_key(&id) => {}
            Command::Send(id, message) => {
                match &message {
                    Message::Ping(mark) => {
                        self.pings.push_back((mark.clone(), id));
                        if self.pings.len() > PINGS {
                            self.pings.pop_front();
                        }
                    }
                    Message::Text(text) => {
                        if let Some((name, asked)) = asked(text) {
                            if asked == Asked::Login && !self.admit_login(id).await? {
                                return self.cut_off(id).await;
                            }
                            self.take_note(id, name, asked);
                        }
                    }
                    _ => {}
                }
                self.send(message).await?;
            }
        }
        Ok(())
    }

    /// Prepares the connection for a party that authenticates: sessions that may not read as somebody who is authenticated are cut
    /// off. Returns false if the party may not do it here: the client, on the connection of sessions of
    /// which none has authenticated.
    async fn admit_login(&mut self, id: u64) -> Result<bool, String> {
        let is_client = |listener: &Listener| listener.party == Party::Client;
        if self.listeners.get(&id).is_some_and(is_client) && !self.logged_in.load(Ordering::Relaxed) {
            self.logs_in.store(true, Ordering::Relaxed);
            if !self.listeners.values().all(is_client) {
                return Ok(false);
            }
        }
        self.logged_in.store(true, Ordering::Relaxed);
        let anonymous = self.listeners.iter().filter(|(_, listener)| listener.party == Party::Session(false));
        let anonymous: Vec<u64> = anonymous.map(|(id, _)| *id).collect();
        for id in anonymous {
            self.cut_off(id).await?;
        }
        Ok(true)
    }

    /// Notes who sent a request, or that one was closed.
    fn take_note(&mut self, by: u64, name: String, asked: Asked) {
        match asked {
            Asked::Close => self.end(&name),
            Asked::Continuation => {}
            Asked::Publication | Asked::Login => {
                self.requests.insert(name.clone(), Request { by, asked, is_open: true });
                self.end(&name);
            }
            Asked::Events | Asked::Comparison => {
                self.requests.insert(name, Request { by, asked, is_open: true });
            }
        }
    }

    fn end(&mut self, name: &str) {
        if let Some(request) = self.requests.get_mut(name)
            && std::mem::take(&mut request.is_open)
        {
            self.ended.push_back(name.to_owned());
        }
        while self.ended.len() > ENDED {
            let Some(oldest) = self.ended.pop_front() else { break };
            // A name may be in use again.
            if self.requests.get(&oldest).is_some_and(|request| !request.is_open) {
                self.requests.remove(&oldest);
            }
        }
    }

    /// Passes a message of the relay on to the party that it answers.
    async fn pass_on(&mut self, message: Message) -> Result<(), String> {
        let to = match &message {
            Message::Pong(mark) => {
                let answered = self.pings.iter().position(|(sent, _)| sent == mark).map_or(0, |place| place + 1);
                // Of several pings only the last may be answered (RFC 6455, 5.5.3).
                for (mark, by) in self.pings.drain(..answered) {
                    if let Some(listener) = self.listeners.get(&by) {
                        listener.offer(Message::Pong(mark));
                    }
                }
                None
            }
            Message::Text(text) => match parse(text) {
                RelayMessage::Event(name, _) | RelayMessage::Eose(name, _) | RelayMessage::NegMsg(name, _) => {
                    self.requests.get(name.as_ref()).map(|request| request.by)
                }
                RelayMessage::Closed(name, _)
                | RelayMessage::NegErr(name, _)
                | RelayMessage::Count(name, _)
                | RelayMessage::Ok(name, ..) => {
                    let by = self.requests.get(name.as_ref()).map(|request| request.by);
                    self.end(&name);
                    by
                }
                RelayMessage::Notice(_) => {
                    let holder = self.holder.load(Ordering::Relaxed);
                    for (id, listener) in &self.listeners {
                        if *id == holder || listener.party == Party::Client {
                            listener.offer(message.clone());
                        }
                    }
                    None
                }
                RelayMessage::Auth(_) if text.len() <= CHALLENGE => {
                    for listener in self.listeners.values() {
                        listener.offer(message.clone());
                    }
                    self.challenge = Some(message.clone());
                    None
                }
                RelayMessage::Auth(_) | RelayMessage::Other => None,
            },
            _ => None,
        };
        let size = message.len();
        let Some((id, listener)) = to.and_then(|id| Some((id, self.listeners.get_mut(&id)?))) else {
            let is_flood = self.unasked.add(size, to.is_some());
            return if is_flood { Err("it sends what nobody has asked for".to_owned()) } else { Ok(()) };
        };
        self.unasked = Unasked::new();
        let began = Instant::now();
        let delivered = listener.deliver(message).await;
        if began.elapsed() >= HELD_UP {
            self.held_up.fetch_add(1, Ordering::Relaxed);
        }
        if delivered { Ok(()) } else { self.cut_off(id).await }
    }

    /// Ends a branch that others cannot wait for, or with which they cannot be on one connection.
    async fn cut_off(&mut self, id: u64) -> Result<(), String> {
        if let Some(listener) = self.listeners.get(&id) {
            listener.cut_off.store(true, Ordering::Relaxed);
        }
        self.remove(id).await
    }

    /// Removes a branch, and closes what it has requested.
    async fn remove(&mut self, id: u64) -> Result<(), String> {
        self.listeners.remove(&id);
        let open = self.requests.iter().filter(|(_, request)| request.by == id && request.is_open);
        let open: Vec<(String, Asked)> = open.map(|(name, request)| (name.clone(), request.asked)).collect();
        for (name, asked) in open {
            // What it has asked for may still arrive.
            self.end(&name);
            let label = match asked {
                Asked::Events => "CLOSE",
                Asked::Comparison => "NEG-CLOSE",
                _ => continue,
            };
            self.send(Message::text(serde_json::json!([label, name]).to_string())).await?;
        }
        if self.is_of_sessions && self.listeners.values().all(|listener| listener.party == Party::Client) {
            return Err("the last session has left".to_owned());
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), String> {
        match timeout(UNSENT, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it took no message within {UNSENT:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_from_what_comes_now_and_then() {
        let mut unasked = Unasked::new();
        assert!((1..UNASKED).all(|_| !unasked.add(10, false)) && unasked.add(10, false));
        let mut unasked = Unasked::new();
        assert!((1..16).all(|_| !unasked.add(1 << 20, false)) && unasked.add(1 << 20, false));
        // The rest of an answer to a party that has left.
        let mut unasked = Unasked::new();
        assert!((0..100_000).all(|_| !unasked.add(1_000, true)));
        // Ten days of a quiet relay that pings each twenty seconds.
        let mut unasked = Unasked::new();
        for _ in 0..43_200 {
            tokio::time::advance(Duration::from_secs(20)).await;
            assert!(!unasked.add(100, false));
        }
    }
}
